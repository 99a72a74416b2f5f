package aibridgedserver

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// transferSize is how many rows are read in a query of an export, or written in a transaction of an import.
const transferSize = 1000

// Export yields all users, groups, budgets, tokens, providers, MCP servers, their secrets and records, one JSON object a row, in an order and a
// form that do not depend on the engine: two databases have the same content of this kind if their exports are equal. The first
// member, table, says what a row is. [Server.ExportTurns] yields what else is to be moved.
//
// It reads page by page, without a transaction over all. Rows that are stored meanwhile may or may not be among them. It
// ends after the first error.
func (s *Server) Export(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if err := s.export(ctx, yield); err != nil {
			yield(nil, fmt.Errorf("export: %w", err))
		}
	}
}

func (s *Server) export(ctx context.Context, yield func([]byte, error) bool) error {
	keys, err := s.exportKeys(ctx)
	if err != nil {
		return fmt.Errorf("keys of secrets: %w", err)
	}
	if !yield(keys, nil) {
		return nil
	}
	for _, t := range storedTables() {
		var position []any // The key of the row before. Nil: before all rows of the table.
		for {
			page, last, err := s.exportPage(ctx, t, position)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			for _, row := range page {
				if !yield(row, nil) {
					return nil
				}
			}
			if len(page) < transferSize {
				break
			}
			position = last
		}
	}
	return nil
}

// exportPage returns the rows of a table behind a key, and the key of the last.
func (s *Server) exportPage(ctx context.Context, t storedTable, after []any) (page [][]byte, last []any, err error) {
	query := `SELECT ` + t.columnList() + ` FROM ` + t.name
	var args []any
	if after != nil {
		in := make([]string, len(after))
		for i, value := range after {
			in[i] = placeholder(&args, value)
		}
		query += ` WHERE (` + t.keyList() + `) > (` + strings.Join(in, ", ") + `)`
	}
	query += ` ORDER BY ` + t.keyList() + ` LIMIT ` + strconv.Itoa(transferSize)
	// In a transaction for reports, rows do not move to another partition while it reads: it would see some in neither place.
	err = s.db.Read(ctx, func(tx *sql.Tx) error {
		page = nil // It may be run again.
		return each(ctx, tx, query, args, func(rows *sql.Rows) error {
			row, err := t.scan(rows)
			page = append(page, row)
			return err
		})
	})
	if err == nil && len(page) > 0 {
		_, values, err := parseRow([]storedTable{t}, page[len(page)-1])
		return page, values[:min(t.keys, len(values))], err
	}
	return page, nil, err
}

// scan returns a row that was read as it is exported.
func (t storedTable) scan(rows *sql.Rows) ([]byte, error) {
	values := make([]any, len(t.columns))
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	return t.write(values)
}

// write returns a row as it is exported.
func (t storedTable) write(values []any) ([]byte, error) {
	row := append(append([]byte(`{"table":"`), t.name...), '"')
	for i, column := range t.columns {
		text, err := column.kind.write(values[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", column.name, err)
		}
		row = append(append(append(append(row, `,"`...), column.name...), `":`...), text...)
	}
	return append(row, '}'), nil
}

// parseRow returns the index of a row's table, and the values to bind for its columns.
func parseRow(tables []storedTable, row []byte) (table int, values []any, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(row, &members); err != nil {
		return 0, nil, fmt.Errorf("it is no JSON object: %w", err)
	}
	var name string
	if err := json.Unmarshal(members["table"], &name); err != nil {
		return 0, nil, errors.New("it does not say of which table it is")
	}
	table = slices.IndexFunc(tables, func(t storedTable) bool { return t.name == name })
	if table < 0 {
		return 0, nil, fmt.Errorf("there is no table %.64q", name)
	}
	delete(members, "table")
	for _, column := range tables[table].columns {
		value, err := column.kind.read(members[column.name])
		if err != nil {
			return 0, nil, fmt.Errorf("%s of %s: %w", column.name, name, err)
		}
		values = append(values, value)
		delete(members, column.name)
	}
	for unknown := range members {
		return 0, nil, fmt.Errorf("%s has no column %.64q: export and import with programs of the same version", name, unknown)
	}
	return table, values, nil
}

// Import is [Server.ImportWith] without options. It returns how many rows were read.
func (s *Server) Import(ctx context.Context, rows iter.Seq2[[]byte, error]) (read int64, err error) {
	imported, err := s.ImportWith(ctx, ImportOptions{}, rows)
	return imported.Read, err
}

// ImportOptions are the optional settings of [Server.ImportWith]; the zero value works.
type ImportOptions struct {
	// Exact makes groups, budgets, providers, MCP servers, their users, tokens and secrets those of the export: what differs here is
	// replaced, and what the export does not have is deleted.
	Exact bool
}

// Imported says what an import did.
type Imported struct {
	Read  int64 // Rows.
	Turns int64 // Kept turns that are new here.
	// Differs names what is different here from the export, or not in it, among what Exact is about. It is empty after an exact
	// import.
	Differs []string
}

// ImportWith stores the rows of an export, with kept turns or without. Each may be there already, so an import that was interrupted is simply done again. An
// interception that was there without its start or its end is completed, and a token that was revoked is revoked here. Groups,
// budgets, providers, MCP servers and what belongs to them are stored in one transaction, once all rows are read: gateways see them as
// they see the changes of commands. Of what is there in another state, the later one stays, where a row says when it was
// changed; else what is here.
//
// Secrets that are encrypted must be readable with [Options.EncryptionKeys], or the error is [ErrWrongKey]. If a row cannot be
// stored, those before it may be.
func (s *Server) ImportWith(ctx context.Context, options ImportOptions, rows iter.Seq2[[]byte, error]) (done Imported, err error) {
	if err := s.writer.begin(); err != nil {
		return done, err
	}
	defer s.writer.storing.Done()
	tables := storedTables()
	configuration := newImportedConfiguration(tables)
	batch, of := []any(nil), 0 // The values of rows of one table.
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := s.importBatch(ctx, tables[of], batch)
		batch = nil
		return err
	}
	for row, err := range rows {
		if err != nil {
			return done, err
		}
		done.Read++
		if len(bytes.TrimSpace(row)) == 0 {
			continue
		}
		if isKeys(row) {
			ids, err := parseKeys(row)
			if err == nil {
				err = s.secrets.haveAll(ids)
			}
			if err != nil {
				return done, fmt.Errorf("import row %d: %w", done.Read, err)
			}
			continue
		}
		if isTurn(row) {
			kept, err := s.importTurn(ctx, row)
			if err != nil {
				return done, fmt.Errorf("import row %d: %w", done.Read, err)
			}
			if kept {
				done.Turns++
			}
			continue
		}
		table, values, err := parseRow(tables, row)
		if err == nil && tables[table].configuration {
			if err = s.checkSecret(tables[table].name, values); err == nil {
				err = configuration.add(table, values, len(row))
			}
			if err != nil {
				return done, fmt.Errorf("import row %d: %w", done.Read, err)
			}
			continue
		}
		if err == nil && (table != of || len(batch) >= transferSize*len(values)) {
			err = flush()
		}
		if err != nil {
			return done, fmt.Errorf("import row %d: %w", done.Read, err)
		}
		of, batch = table, append(batch, values...)
	}
	if err := flush(); err != nil {
		return done, fmt.Errorf("import up to row %d: %w", done.Read, err)
	}
	if done.Read == 0 && options.Exact {
		return done, errors.New("import: there is nothing in it, which is no reason to delete what is here")
	}
	if done.Differs, err = s.importConfiguration(ctx, configuration, options.Exact); err != nil {
		return done, fmt.Errorf("import groups, providers and MCP servers: %w", err)
	}
	s.known.forgetAll()
	return done, nil
}

// importBatch stores rows of one table in one transaction.
func (s *Server) importBatch(ctx context.Context, t storedTable, values []any) error {
	return inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		var changed int64
		for once := range t.once(values) {
			n, err := s.db.InsertRows(ctx, tx, Insertion{Table: t.name, Columns: t.columnList(), Exists: t.exists}, once)
			if err != nil {
				return err
			}
			changed += n
		}
		if changed == 0 || !t.records {
			return nil
		}
		_, err := tx.ExecContext(ctx, insertTouched, t.interceptions(values))
		return err
	})
}

// once divides rows into some that have each key once: a statement may change a row only once.
func (t storedTable) once(values []any) iter.Seq[[]any] {
	return func(yield func([]any) bool) {
		known, begin := map[string]bool{}, 0
		for at := 0; at < len(values); at += len(t.columns) {
			key := fmt.Sprint(values[at : at+t.keys]...)
			if known[key] {
				if !yield(values[begin:at]) {
					return
				}
				begin = at
				clear(known)
			}
			known[key] = true
		}
		if begin < len(values) {
			yield(values[begin:])
		}
	}
}

// interceptions returns the ids of the interceptions that rows of records are of, one behind the other.
func (t storedTable) interceptions(values []any) (ids []byte) {
	var last []byte
	for row := range slices.Chunk(values, len(t.columns)) {
		if id, _ := row[0].([]byte); !bytes.Equal(id, last) {
			ids, last = append(ids, id...), id
		}
	}
	return ids
}
