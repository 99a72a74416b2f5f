package aibridgedserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// mostConfiguration is how many bytes the rows of an export may have that are stored all at once. Ten thousand users with a token
// and some groups each take 10 MiB.
const mostConfiguration = 256 << 20

// importedConfiguration is what an export has of the tables that commands change and remove rows of.
type importedConfiguration struct {
	tables []storedTable
	rows   []map[string][]any // By table, and by key: the values.
	size   int
}

func newImportedConfiguration(tables []storedTable) *importedConfiguration {
	c := &importedConfiguration{tables: tables, rows: make([]map[string][]any, len(tables))}
	for i := range c.rows {
		c.rows[i] = map[string][]any{}
	}
	return c
}

// add adds a row. Of two with one key, the second counts.
func (c *importedConfiguration) add(table int, values []any, size int) error {
	if c.size += size; c.size > mostConfiguration {
		return fmt.Errorf("groups, budgets, providers, MCP servers and their tokens have more than %d bytes", mostConfiguration)
	}
	c.rows[table][c.tables[table].keyOf(values)] = values
	return nil
}

// keyOf returns a text that is the same for rows of the same key.
func (t storedTable) keyOf(values []any) string { return fmt.Sprintf("%q", values[:t.keys]) }

// importConfiguration stores what an export has, and returns what is different here afterwards, for people.
func (s *Server) importConfiguration(ctx context.Context, c *importedConfiguration, exact bool) (differs []string, err error) {
	err = inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		differs = nil
		change := configurationChange{server: s, tx: tx, exact: exact}
		if err := change.all(ctx, c); err != nil {
			return err
		}
		if differs = change.differs; change.rows == 0 {
			return nil
		}
		return noteReconfigured(ctx, tx)
	})
	return differs, err
}

// configurationChange is a transaction that stores what an export has of the configuration.
type configurationChange struct {
	server  *Server
	tx      *sql.Tx
	exact   bool
	rows    int64 // How many rows it has changed.
	differs []string
}

func (c *configurationChange) all(ctx context.Context, imported *importedConfiguration) error {
	here := make([]map[string][]any, len(imported.tables))
	for i, t := range imported.tables {
		var err error
		if t.configuration {
			here[i], err = t.rowsIn(ctx, c.tx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if c.exact { // What refers to a row goes before it.
		for i, t := range slices.Backward(imported.tables) {
			if err := c.deleteOthers(ctx, t, here[i], imported.rows[i]); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	for i, t := range imported.tables {
		if err := c.put(ctx, t, here[i], imported.rows[i]); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	if c.exact {
		return nil
	}
	return c.dropUnusedSecrets(ctx)
}

// rowsIn returns all rows of a table, by their keys.
func (t storedTable) rowsIn(ctx context.Context, tx *sql.Tx) (map[string][]any, error) {
	all := map[string][]any{}
	err := each(ctx, tx, `SELECT `+t.columnList()+` FROM `+t.name, nil, func(rows *sql.Rows) error {
		row, err := t.scan(rows)
		if err != nil {
			return err
		}
		_, values, err := parseRow([]storedTable{t}, row)
		if err == nil {
			all[t.keyOf(values)] = values
		}
		return err
	})
	return all, err
}

// deleteOthers deletes the rows that the export does not have.
func (c *configurationChange) deleteOthers(ctx context.Context, t storedTable, here, theirs map[string][]any) error {
	for _, key := range slices.Sorted(maps.Keys(here)) {
		if _, there := theirs[key]; there {
			continue
		}
		var args []any
		var conditions []string
		for i, column := range t.columns[:t.keys] {
			conditions = append(conditions, column.name+" = "+placeholder(&args, here[key][i]))
		}
		n, err := affected(c.tx.ExecContext(ctx, `DELETE FROM `+t.name+` WHERE `+strings.Join(conditions, " AND "), args...))
		if err != nil {
			return err
		}
		c.rows += n
	}
	return nil
}

// put stores the rows that are not here, and those that are here in a state that is to be replaced. It notes what differs.
func (c *configurationChange) put(ctx context.Context, t storedTable, here, theirs map[string][]any) error {
	var batch []any
	for _, key := range slices.Sorted(maps.Keys(theirs)) {
		ours, known := here[key]
		switch {
		case !known, c.exact && !slices.Equal(ours, theirs[key]), !c.exact && known && c.replaces(t, theirs[key], ours):
			batch = append(batch, theirs[key]...)
		case !slices.Equal(ours, theirs[key]):
			c.note(t, ours, "is different here")
		}
	}
	if !c.exact {
		for _, key := range slices.Sorted(maps.Keys(here)) {
			if _, there := theirs[key]; !there {
				c.note(t, here[key], "is not in the export")
			}
		}
	}
	for rows := range slices.Chunk(batch, transferSize*len(t.columns)) {
		n, err := c.server.db.InsertRows(ctx, c.tx, Insertion{Table: t.name, Columns: t.columnList(), Exists: t.replace()}, rows)
		if err != nil {
			return err
		}
		c.rows += n
	}
	return nil
}

// replaces reports whether a row of an export takes the place of one that is here, where nobody has asked for all of them to.
func (c *configurationChange) replaces(t storedTable, theirs, ours []any) bool {
	switch {
	case slices.Equal(theirs, ours):
		return false
	case t.newer != nil:
		return t.newer(theirs, ours)
	case t.name == "kept_secrets": // The same one, encrypted at another time.
		return c.server.checkSecret(t.name, ours) != nil
	}
	return false
}

// replace returns what happens to a row that already exists, as it is written behind ON CONFLICT.
func (t storedTable) replace() string {
	if t.keys == len(t.columns) {
		return "DO NOTHING"
	}
	var assignments []string
	for _, column := range t.columns[t.keys:] {
		assignments = append(assignments, column.name+" = excluded."+column.name)
	}
	return "(" + t.keyList() + ") DO UPDATE SET " + strings.Join(assignments, ", ")
}

// note notes a row that is not as in the export. Secrets are noted with what they belong to.
func (c *configurationChange) note(t storedTable, row []any, how string) {
	switch t.name {
	case "user_groups":
		c.differs = append(c.differs, fmt.Sprintf("a time of user %v in group %v %s", row[0], row[1], how))
	case "budgets":
		c.differs = append(c.differs, fmt.Sprintf("the budget of %v %v %s", row[0], row[1], how))
	case "providers":
		c.differs = append(c.differs, fmt.Sprintf("provider %v %s", row[0], how))
	case "mcp_servers":
		c.differs = append(c.differs, fmt.Sprintf("MCP server %v %s", row[0], how))
	case "mcp_server_users":
		c.differs = append(c.differs, fmt.Sprintf("user %v of MCP server %v %s", row[1], row[0], how))
	case "mcp_access_tokens":
		c.differs = append(c.differs, fmt.Sprintf("the token of user %v for MCP server %v %s", row[0], row[1], how))
	}
}

// dropUnusedSecrets deletes secrets that came with a state of their owner which was not taken, or whose owner has another one now.
func (c *configurationChange) dropUnusedSecrets(ctx context.Context) error {
	texts := map[string]string{}
	for query, owner := range map[string]func(string) string{
		`SELECT name, settings FROM providers`: ownerOfProvider, `SELECT id, token_from FROM mcp_servers`: ownerOfMCPServer,
	} {
		err := each(ctx, c.tx, query, nil, func(rows *sql.Rows) error {
			var name, text string
			err := rows.Scan(&name, &text)
			texts[owner(name)] = text
			return err
		})
		if err != nil {
			return err
		}
	}
	var unused []string
	err := each(ctx, c.tx, `SELECT id, owner FROM kept_secrets`, nil, func(rows *sql.Rows) error {
		var id, owner string
		err := rows.Scan(&id, &owner)
		if !strings.Contains(texts[owner], keptPrefix+id) {
			unused = append(unused, id)
		}
		return err
	})
	for _, id := range unused {
		if err == nil {
			_, err = c.tx.ExecContext(ctx, `DELETE FROM kept_secrets WHERE id = $1`, id)
		}
	}
	return err
}

// checkSecret returns an error if a row of an export has a secret whose key is not here.
func (s *Server) checkSecret(table string, values []any) error {
	stored, place := sealedIn(table, values)
	if _, err := s.secrets.open(stored, place); err != nil && !errors.Is(err, errDamaged) { // That it was where it comes from, too.
		return fmt.Errorf("secret of an export: %w", err)
	}
	return nil
}

// sealedIn returns the secret in a row of an export, and its place. Empty: there is none.
func sealedIn(table string, values []any) (stored, place string) {
	var texts []string
	for _, value := range values {
		text, _ := value.(string)
		texts = append(texts, text)
	}
	switch table {
	case "kept_secrets":
		return texts[2], keptPlace(texts[0])
	case "mcp_access_tokens":
		return texts[2], tokenPlace(texts[0], texts[1])
	}
	return "", ""
}
