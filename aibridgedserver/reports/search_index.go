package reports

import (
	"context"
	"database/sql"
	"strings"
	"unicode"

	"github.com/coder/aibridged/aibridgedserver"
)

const (
	// longestSearchable is how many bytes of a prompt are indexed.
	longestSearchable = 64 << 10
	// promptsASession is how many prompts of a session are indexed at most. Numbers in the index hold the session in their
	// upper bits, so that a search in their order finds the prompts of one session together.
	promptsASession = 1 << 20
)

// searchID returns the number of the session's next prompt in the index, or 0 if it has too many.
func (s *session) searchID() int64 {
	if s.searchable == promptsASession-1 {
		return 0
	}
	s.searchable++
	return s.id*promptsASession + s.searchable
}

// storeSearchables adds prompts to the index.
func storeSearchables(ctx context.Context, index aibridgedserver.Search, tx *sql.Tx, prompts map[int64]string) error {
	if len(prompts) == 0 {
		return nil
	}
	return index.Add(ctx, tx, prompts)
}

// removeSearchables removes prompts from the index.
func removeSearchables(ctx context.Context, index aibridgedserver.Search, tx *sql.Tx, numbers []int64) error {
	if len(numbers) == 0 {
		return nil
	}
	return index.Remove(ctx, tx, numbers)
}

// mostWords is how many words a search has at most.
const mostWords = 16

// wordsOf returns the words that a text is searched for: all of its words, up to mostWords.
func wordsOf(text string) []string {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) })
	return words[:min(len(words), mostWords)]
}

// searchedSessions returns a query for the numbers of prompts with all of some words, the latest sessions first, below a
// session.
func searchedSessions(index aibridgedserver.Search, words []string, below int64, limit int) query {
	text, args := index.Find(words, below*promptsASession, limit)
	return query{text, args}
}
