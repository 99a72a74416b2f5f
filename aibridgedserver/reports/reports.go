// Package reports tells from a control plane's records who spent what, and why: costs by user, model, client, provider,
// tool, group and day, and the sessions of clients with what happened in them.
//
//	reports := reports.New(db, server, book)
//	if err := reports.Digest(ctx, reports.DigestOptions{}); err != nil {
//		return err
//	}
//	overview, err := reports.Overview(ctx, reports.Viewer{Admin: true}, query)
//
// What it tells is derived from the records and kept beside them: facts of each interception, sums by quarter of an hour,
// sessions, and the words of prompts. [Reports.Digest] brings that up to date. It works behind the records' back: storing
// a record does not wait for it.
//
// Each function reads a bounded number of rows by an index.
package reports

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"strconv"
	"strings"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
)

// Reports reads and derives. It is safe for concurrent use, also while other processes use the same database.
type Reports struct {
	db      aibridgedserver.Database
	records Records
	book    *prices.Book
}

// Records reads whole interceptions. [aibridgedserver.Server] implements it.
type Records interface {
	Interceptions(ctx context.Context, filter aibridgedserver.InterceptionFilter) iter.Seq2[*aibridgedserver.Interception, error]
}

// New returns the reports of a database, which must stay open while they are used. Records are those of the same database.
func New(db aibridgedserver.Database, records Records, book *prices.Book) *Reports {
	return &Reports{db: db, records: records, book: book}
}

// ErrNotFound is the error for what does not exist, and for what the viewer may not see: nobody learns which.
var ErrNotFound = errors.New("not found")

// Viewer is who looks. The zero viewer sees nothing.
type Viewer struct {
	UserID   string // UUID.
	APIKeyID string // Of the token that they signed in with.
	Admin    bool   // Sees what others did.
}

// Operator is the viewer at the machine itself, who can read the database anyway. What the operator looks at is not noted.
func Operator() Viewer { return Viewer{Admin: true} }

func (v Viewer) operator() bool { return v.Admin && v.UserID == "" }

// sees reports whether a viewer may see what a user did.
func (v Viewer) sees(userID string) bool { return v.Admin || v.UserID != "" && v.UserID == userID }

// arguments collects the values of a query's placeholders.
type arguments []any

// add adds a value and returns its placeholder.
func (a *arguments) add(value any) string {
	*a = append(*a, value)
	return "$" + strconv.Itoa(len(*a))
}

// list adds values and returns their placeholders, separated by commas.
func (a *arguments) list(values []any) string {
	places := make([]string, len(values))
	for i, value := range values {
		places[i] = a.add(value)
	}
	return strings.Join(places, ", ")
}

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// query is a query with its arguments.
type query struct {
	text string
	args arguments
}

// all returns what scan makes of each row.
func all[T any](ctx context.Context, db querier, q query, scan func(*sql.Rows) (T, error)) (found []T, err error) {
	rows, err := db.QueryContext(ctx, q.text, q.args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, rows.Err()
}
