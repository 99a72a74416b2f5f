package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// search implements [aibridgedserver.Search] by an FTS5 table without the texts.
type search struct{}

// Add implements [aibridgedserver.Search].
func (search) Add(ctx context.Context, tx *sql.Tx, texts map[int64]string) (err error) {
	return prepared(ctx, tx, `INSERT INTO prompt_search (rowid, prompt) VALUES ($1, $2)`, func(insert *sql.Stmt) error {
		for number, text := range texts {
			if _, err := insert.ExecContext(ctx, number, text); err != nil {
				return err
			}
		}
		return nil
	})
}

// Remove implements [aibridgedserver.Search].
func (search) Remove(ctx context.Context, tx *sql.Tx, numbers []int64) error {
	return prepared(ctx, tx, `DELETE FROM prompt_search WHERE rowid = $1`, func(remove *sql.Stmt) error {
		for _, number := range numbers {
			if _, err := remove.ExecContext(ctx, number); err != nil {
				return err
			}
		}
		return nil
	})
}

// prepared calls use with a prepared statement.
func prepared(ctx context.Context, tx *sql.Tx, text string, use func(*sql.Stmt) error) (err error) {
	statement, err := tx.PrepareContext(ctx, text)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, statement.Close()) }()
	return use(statement)
}

// Find implements [aibridgedserver.Search]. Words in quotes are never operators of the index.
func (search) Find(words []string, below int64, limit int) (query string, args []any) {
	return `SELECT rowid FROM prompt_search WHERE prompt_search MATCH $1 AND rowid < $2 ORDER BY rowid DESC LIMIT $3`,
		[]any{`"` + strings.Join(words, `" "`) + `"*`, below, limit}
}
