package reports

import (
	"context"
	"database/sql"
	"strings"
	"unicode"

	"github.com/coder/aibridged/internal/storable"
)

// This file is what differs between engines: the index of the words of prompts. In SQLite it is an FTS5 table without the
// texts.

// searchable is a prompt for the index.
type searchable struct {
	id   int64
	text string
}

const (
	// longestSearchable is how many bytes of a prompt are indexed.
	longestSearchable = 64 << 10
	// promptsASession is how many prompts of a session are indexed at most. Ids hold the session in their upper bits.
	promptsASession = 1 << 20
)

// searchID returns the id of the session's next prompt in the index, or 0 if it has too many.
func (s *session) searchID() int64 {
	if s.searchable == promptsASession-1 {
		return 0
	}
	s.searchable++
	return s.id*promptsASession + s.searchable
}

// storeSearchables adds prompts to the index.
func storeSearchables(ctx context.Context, tx *sql.Tx, prompts []searchable) error {
	if len(prompts) == 0 {
		return nil
	}
	return prepared(ctx, tx, `INSERT INTO prompt_search (rowid, prompt) VALUES ($1, $2)`, func(exec func(...any) error) error {
		for _, p := range prompts {
			if err := exec(p.id, storable.Cut(p.text, longestSearchable)); err != nil {
				return err
			}
		}
		return nil
	})
}

// removeSearchables removes prompts from the index.
func removeSearchables(ctx context.Context, tx *sql.Tx, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	return prepared(ctx, tx, `DELETE FROM prompt_search WHERE rowid = $1`, func(exec func(...any) error) error {
		for _, id := range ids {
			if err := exec(id); err != nil {
				return err
			}
		}
		return nil
	})
}

// mostWords is how many words a search has at most.
const mostWords = 16

// matchOf returns what the index is asked for: all words of a text, the last one also as the beginning of a word. What a
// person types is never an operator of the index. It returns nothing for a text without words.
func matchOf(text string) string {
	words := strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) })
	if len(words) > mostWords {
		words = words[:mostWords]
	}
	for i, word := range words {
		words[i] = `"` + word + `"`
	}
	if len(words) == 0 {
		return ""
	}
	return strings.Join(words, " ") + "*"
}

// searchedSessions returns a query for the ids of sessions with a prompt that matches, the latest first, below a session:
// the prompts of a session are next to each other in the order of ids.
func searchedSessions(match string, below int64, limit int) query {
	var args arguments
	return query{
		`SELECT rowid FROM prompt_search WHERE prompt_search MATCH ` + args.add(match) + ` AND rowid < ` + args.add(below*promptsASession) +
			` ORDER BY rowid DESC LIMIT ` + args.add(limit), args,
	}
}
