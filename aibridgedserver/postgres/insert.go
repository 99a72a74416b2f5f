package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/coder/aibridged/aibridgedserver"
)

// mostStatementBytes is how many bytes of text a statement should have: PostgreSQL takes at most 1 GiB.
const mostStatementBytes = 64 << 20

// inserter inserts rows. Each column of the rows is one array, so a statement is the same for any number of rows.
type inserter struct {
	types   map[string]map[string]string // By table and column.
	numbers map[string]string            // By table: a column that the server numbers.
	months  *months
}

// newInserter reads the types of all columns.
func newInserter(ctx context.Context, db *sql.DB, months *months) (_ *inserter, err error) {
	i := &inserter{types: map[string]map[string]string{}, numbers: map[string]string{}, months: months}
	rows, err := db.QueryContext(ctx, `SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attidentity <> ''
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
			AND NOT a.attisdropped`)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var table, column, kind string
		var numbered bool
		if err := rows.Scan(&table, &column, &kind, &numbered); err != nil {
			return nil, err
		}
		if i.types[table] == nil {
			i.types[table] = map[string]string{}
		}
		i.types[table][column] = kind
		if numbered {
			i.numbers[table] = column
		}
	}
	return i, rows.Err()
}

// insert implements [aibridgedserver.Database.Insert].
func (i *inserter) insert(ctx context.Context, tx *sql.Tx, into aibridgedserver.Insertion, values []any) (inserted int64, err error) {
	columns := columnsOf(into)
	text, err := i.text(into, columns)
	if err != nil {
		return 0, err
	}
	if isRecordTable(into.Table) && i.months.want(values, len(columns)) {
		if err := hold(ctx, tx, into.Table); err != nil {
			return 0, err
		}
	}
	for len(values) > 0 {
		var some []any
		some, values = cut(values, len(columns))
		args := make([]any, len(columns))
		for n := range columns {
			args[n] = array{some, len(columns), n}
		}
		result, err := tx.ExecContext(ctx, text, args...)
		if err != nil {
			return 0, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return 0, err
		}
		inserted += n
	}
	if number := i.numbers[into.Table]; slices.Contains(columns, number) {
		err = numberBehind(ctx, tx, into.Table, number)
	}
	return inserted, err
}

// numberBehind lets the server's own numbers go on behind those that were inserted.
func numberBehind(ctx context.Context, tx *sql.Tx, table, column string) error {
	var sequence string
	if err := tx.QueryRowContext(ctx, `SELECT pg_get_serial_sequence($1, $2)`, table, column).Scan(&sequence); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `SELECT setval('`+sequence+`', greatest((SELECT max(`+column+`) FROM `+table+`), (SELECT last_value FROM `+sequence+`)))`)
	return err
}

func columnsOf(into aibridgedserver.Insertion) []string {
	columns := strings.Split(into.Columns, ",")
	for n := range columns {
		columns[n] = strings.TrimSpace(columns[n])
	}
	return columns
}

// text returns the statement for an insertion.
//
// A record whose month was dropped is not inserted. Rows are inserted in the order of their keys, so that two transactions
// that have the same rows wait for each other, and seldom each for the other.
func (i *inserter) text(into aibridgedserver.Insertion, columns []string) (string, error) {
	key := columns[0]
	var arrays, started, target string
	for n, column := range columns {
		kind := i.types[into.Table][column]
		if kind == "" {
			return "", fmt.Errorf("table %s has no column %s", into.Table, column)
		}
		if n > 0 {
			arrays += ", "
		}
		arrays += "$" + strconv.Itoa(n+1) + "::" + kind + "[]"
	}
	if into.Started != "" {
		target, started = ", started", ", "+into.Started
	}
	order := key
	if len(columns) > 1 && columns[1] == "record_id" {
		order += ", record_id"
	}
	var condition string
	if isRecordTable(into.Table) {
		condition = ` WHERE ` + key + ` >= (SELECT below FROM dropped_months) OR substr(` + key + `::text, 15, 1) <> '7'`
	}
	return `INSERT INTO ` + into.Table + ` (` + into.Columns + target + `) SELECT ` + into.Columns + started +
		` FROM unnest(` + arrays + `) AS r (` + into.Columns + `)` + condition + ` ORDER BY ` + order + ` ON CONFLICT ` + into.Exists, nil
}

// cut returns the first rows, as many as a statement should have, and the others.
func cut(values []any, width int) (some, others []any) {
	size := 0
	for n, value := range values {
		switch value := value.(type) {
		case string:
			size += len(value)
		case []byte:
			size += len(value)
		}
		if (n+1)%width == 0 && size >= mostStatementBytes {
			return values[:n+1], values[n+1:]
		}
	}
	return values, nil
}

// array is a column of rows.
type array struct {
	values       []any // One row after the other.
	width, index int   // Of a row, and of the column in it.
}

// Dimensions implements [pgtype.ArrayGetter].
func (a array) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(a.values) / a.width), LowerBound: 1}}
}

// Index implements [pgtype.ArrayGetter].
func (a array) Index(i int) any { return a.values[i*a.width+a.index] }

// IndexType implements [pgtype.ArrayGetter].
func (array) IndexType() any { return nil }
