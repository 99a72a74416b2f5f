package postgres

import (
	"context"
	"database/sql"
	"strings"
	"unicode"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
)

// longestWord is how many bytes of a word are indexed. A tsvector takes some more.
const longestWord = 128

// search implements [aibridgedserver.Search] by a tsvector. It makes the words itself: what the server does by itself depends
// on its dictionaries, and without an extension it tells accents apart.
type search struct{}

// Add implements [aibridgedserver.Search].
func (search) Add(ctx context.Context, tx *sql.Tx, texts map[int64]string) error {
	numbers, words := make([]int64, 0, len(texts)), make([]string, 0, len(texts))
	for number, text := range texts {
		numbers, words = append(numbers, number), append(words, strings.Join(wordsOf(text), " "))
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO prompt_search (id, words)
		SELECT id, array_to_tsvector(string_to_array(words, ' ')) FROM unnest($1::bigint[], $2::text[]) AS r (id, words)`, numbers, words)
	return err
}

// Remove implements [aibridgedserver.Search].
func (search) Remove(ctx context.Context, tx *sql.Tx, numbers []int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM prompt_search WHERE id = ANY($1::bigint[])`, numbers)
	return err
}

// Words are frequent if frequentOf of the latest sampledPrompts prompts have all of them. Then the prompts are read from the latest on
// until there are enough. The index is for words that are rare: of frequent ones, each prompt would be read from it and sorted.
const (
	sampledPrompts = 5000
	frequentOf     = 50
)

// Find implements [aibridgedserver.Search]. Words in quotes are never operators of a tsquery, and have no quotes in them.
func (search) Find(words []string, below int64, limit int) (query string, args []any) {
	var match string // Without words it matches nothing: those that were only marks are gone.
	if words = wordsOf(strings.Join(words, " ")); len(words) > 0 {
		match = `'` + strings.Join(words, `' & '`) + `':*`
	}
	const has = ` FROM prompt_search WHERE words @@ $1::text::tsquery AND id < $2 AND (SELECT count(*) FROM sample) `
	// The planner takes any beginning of a word for a frequent one. Asked twice for the same, it takes it for a rare one, and uses the
	// index of words.
	return `WITH sample AS MATERIALIZED (
			SELECT 1 FROM (SELECT words FROM prompt_search WHERE id < $2 ORDER BY id DESC LIMIT $4) s WHERE words @@ $1::text::tsquery
		)
		(SELECT id` + has + `>= $5 ORDER BY id DESC LIMIT $3)
		UNION ALL (SELECT id` + has + `< $5 AND words @@ ($1::text::tsquery && $1::text::tsquery) ORDER BY id + 0 DESC LIMIT $3)`, []any{match, below, limit, sampledPrompts, frequentOf}
}

// wordsOf returns the words of a text, without case and accents.
func wordsOf(text string) []string {
	words := strings.FieldsFunc(fold(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) })
	for i, word := range words {
		words[i] = strings.ToValidUTF8(word[:min(len(word), longestWord)], "") // Without a part of a character.
	}
	return words
}

// fold returns a text without case and accents.
func fold(text string) string {
	folded, _, err := transform.String(transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), strings.ToLower(text))
	if err != nil { // None of these fails.
		return text
	}
	return folded
}
