package aibridgedserver

import (
	"context"
	"database/sql"
)

// Search is an engine's index of the words of texts, each with a number. Words are runs of letters, digits and marks. It
// tells neither case nor accents apart. It is safe for concurrent use.
type Search interface {
	// Add adds texts by their numbers, which the index must not have.
	Add(ctx context.Context, tx *sql.Tx, texts map[int64]string) error
	// Remove removes the texts with these numbers.
	Remove(ctx context.Context, tx *sql.Tx, numbers []int64) error
	// Find returns a query for the numbers of texts with all of words, the last one also as the beginning of a word. It
	// yields those below a number, the highest first, at most limit. There must be a word.
	Find(words []string, below int64, limit int) (query string, args []any)
}
