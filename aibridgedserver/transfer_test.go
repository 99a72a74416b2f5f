package aibridgedserver_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/postgres"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/internal/postgrestest"
	"github.com/coder/aibridged/proto"
)

// exported returns all rows of a control plane.
func (c controlPlane) exported(t *testing.T) (rows [][]byte) {
	t.Helper()
	for row, err := range c.Export(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

func digest(rows [][]byte) [sha256.Size]byte { return sha256.Sum256(bytes.Join(rows, []byte("\n"))) }

// each yields rows.
func eachRow(rows [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func (c controlPlane) mustImport(t *testing.T, rows [][]byte) {
	t.Helper()
	if n, err := c.Import(t.Context(), eachRow(rows)); err != nil || int(n) != len(rows) {
		t.Fatalf("imported %d of %d, %v", n, len(rows), err)
	}
}

// odd fills a control plane with what an export must not lose: texts that no JSON holds, metadata that jsonb would change,
// interceptions without start or end, records of background responses, a token of each state, more rows than a page.
func (c controlPlane) odd(t *testing.T) {
	t.Helper()
	_, key := c.token(t, "alice")
	_, revoked := c.token(t, "böb \u2028 <b>")
	if err := c.RevokeToken(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "alice", Expires: time.Hour}); err != nil {
		t.Fatal(err)
	}
	c.exec(t, `INSERT INTO mcp_servers (id, url, enabled) VALUES ('linear', 'https://linear.example', FALSE)`)
	c.exec(t, `INSERT INTO mcp_server_users (mcp_server_id, username) VALUES ('linear', 'alice')`)
	c.exec(t, `INSERT INTO mcp_access_tokens (user_id, mcp_server_id, access_token) VALUES ($1, 'linear', 'secret')`, key.UserID)
	for n, groups := range [][]string{{"red", "green"}, {"red"}} {
		if err := c.SetUserGroups(t.Context(), "alice", groups, time.Date(2026, 11, 20+n, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range []aibridgedserver.Budget{{Kind: "user", Name: "alice", Period: "month", Limit: 5e12}, {Kind: "group", Name: "red", Period: "day", Limit: 1}} {
		if err := c.SetBudget(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	c.look(t, key)
	id, unstarted, background := newID(), newID(), "5f0c1a52-3f6e-4a70-9d4f-0a3b7c9e1d22"
	whole := sixKinds(id)
	const text = "a\x00b\xff\xfe'\"; \u2028😀\x1b <&>"
	whole[1].GetPromptUsage().Prompt, whole[3].GetToolUsage().Input = text, strings.Repeat("x", 1<<20)
	whole[2].GetTokenUsage().Metadata = map[string]*anypb.Any{
		"z": packed(t, "\x00"), "a": packed(t, []any{1.5, nil, map[string]any{"b": true, "a": "�"}}), "zero": packed(t, 0), "large": packed(t, 1e300),
	}
	whole[4].GetModelThought().BackgroundId, whole[5].GetInterceptionEnded().BackgroundId = &background, &background
	whole[5].GetInterceptionEnded().ErrorMessage, whole[5].GetInterceptionEnded().ResponseSha256 = &background, []byte{0, 1, 255}
	c.mustStore(t, whole...)
	c.mustStore(t, prompt(unstarted, "", 5), start(newID(), newID(), 6))
	c.mustStore(t, records(7000)...)
}

// look adds a look at what others wrote.
func (c controlPlane) look(t *testing.T, viewer aibridgedserver.APIKey) {
	t.Helper()
	c.exec(t, `INSERT INTO access_log (at, viewer_id, api_key_id, user_id, kind, subject) VALUES ($1, $2, $3, '', 'sessions', 'x')`,
		time.Now().UnixMicro(), viewer.UserID, viewer.ID)
}

// What one control plane exports, another one imports, and then exports the same, also when either was interrupted.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	from, to := newControlPlane(t), newControlPlane(t)
	from.odd(t)
	rows := from.exported(t)
	if len(rows) < 5000 {
		t.Fatalf("%d rows", len(rows))
	}
	to.mustImport(t, rows[:len(rows)/3]) // An import is done again from its beginning.
	to.mustImport(t, rows)
	to.mustImport(t, rows)
	if again := to.exported(t); digest(again) != digest(rows) {
		t.Errorf("%d rows came back of %d", len(again), len(rows))
	}
	checkJSON(t, to.report(t, aibridgedserver.InterceptionFilter{}), from.report(t, aibridgedserver.InterceptionFilter{}))
	// What is imported is noted for what is derived of it, and the numbers of later rows are other ones.
	interceptions := to.number(t, `SELECT count(*) FROM interceptions`)
	if n := to.number(t, `SELECT sum(length(ids)) / 16 FROM touched`); n < interceptions {
		t.Errorf("%d ids are noted, of %d interceptions", n, interceptions)
	}
	_, key := to.token(t, "alice")
	to.look(t, key)
}

// Rows that are there twice, one behind the other, are imported once; a later state of one completes it.
func TestImportOfRowsTwice(t *testing.T) {
	t.Parallel()
	from, to := newControlPlane(t), newControlPlane(t)
	from.token(t, "alice")
	_, revoked := from.token(t, "bob")
	ids := []string{newID(), newID()}
	from.mustStore(t, start(ids[0], newID(), 0), start(ids[1], newID(), 0), end(ids[1], 1), prompt(ids[1], "hello", 1))
	before := from.exported(t)
	from.mustStore(t, end(ids[0], 2))
	if err := from.RevokeToken(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	after := from.exported(t)
	if len(before) != len(after) {
		t.Fatalf("%d rows, and then %d", len(before), len(after))
	}
	var rows [][]byte
	for n := range after {
		rows = append(rows, before[n], after[n], after[n])
	}
	to.mustImport(t, rows)
	if digest(to.exported(t)) != digest(after) {
		t.Error("the exports differ")
	}
}

// What is stored between two exports is added by the second import, and completes what was there.
func TestImportCompletes(t *testing.T) {
	t.Parallel()
	from, to := newControlPlane(t), newControlPlane(t)
	token, key := from.token(t, "alice")
	ids := []string{newID(), newID(), newID()}
	from.mustStore(t, start(ids[0], newID(), 0), end(ids[1], 1), prompt(ids[2], "hello", 2))
	to.mustImport(t, from.exported(t))
	to.checkKnown(t, token, "alice")
	if err := from.RevokeToken(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	from.mustStore(t, end(ids[0], 3), start(ids[1], newID(), 0), start(ids[2], newID(), 0), end(ids[2], 9))
	rows := from.exported(t)
	to.mustImport(t, rows)
	if digest(to.exported(t)) != digest(rows) {
		t.Error("the exports differ")
	}
	to.checkUnknown(t, token)
	// An older export changes nothing.
	to.mustStore(t, start(newID(), newID(), 0))
	now := to.exported(t)
	to.mustImport(t, rows)
	if digest(to.exported(t)) != digest(now) {
		t.Error("an older export has changed something")
	}
}

func TestImportRefuses(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	const good = `{"table":"users","id":"019ab000-0000-7000-8000-000000000001","username":"ada","created_at":"2026-01-02T03:04:05.000000Z"}`
	for text, want := range map[string]string{
		`x`:                                    "no JSON object",
		`{}`:                                   "of which table",
		`{"table":"x"}`:                        "no table",
		good[:len(good)-1] + `,"admin":1}`:     `no column \"admin\"`,
		strings.Replace(good, "019ab", "x", 1): "id of users",
		strings.Replace(good, "2026-01-02T", "2026-01-02 ", 1):              "created_at of users",
		strings.Replace(good, `"ada"`, `5`, 1):                              "username of users",
		strings.Replace(good, `"username":"ada"`, `"username":null`, 1):     "row 2",
		`{"table":"users","id":null,"username":"x","created_at":null}`:      "row 2",
		`{"table":"token_usages","interception_id":"1","record_id":"1"}`:    "interception_id",
		`{"table":"interceptions; DROP TABLE users","interception_id":"1"}`: "no table",
		`{"table":"users","id; DROP TABLE users":"1"}`:                      "no column",
	} {
		n, err := c.Import(t.Context(), eachRow([][]byte{[]byte(good), []byte(text)}))
		if err == nil || n != 2 || !strings.Contains(fmt.Sprintf("%q", err.Error()), want) {
			t.Errorf("%s: %d, %v, want %s", text, n, err, want)
		}
	}
}

// An export has every column of every table, but for those that say nothing of what is stored. A migration that adds one
// adds it there.
func TestExportHasEveryColumn(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	query := engine.Text(`SELECT m.name || '.' || c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'`,
		`SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'`)
	rows, err := c.db.Reader.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	exported := aibridgedserver.ExportedColumns()
	found := 0
	for rows.Next() {
		var column string
		if err := rows.Scan(&column); err != nil {
			t.Fatal(err)
		}
		table, _, _ := strings.Cut(column, ".")
		partition := strings.Contains(table, "_p2") || strings.HasSuffix(table, "_other")
		other := slices.Contains([]string{
			"price_overrides", "key_changes", "configuration_changes", "encryption", "dropped_months", "goose_db_version", "goose_lock", "sqlite_sequence", "kept_turns",
			"kept_turn_keys", "touched", "derivations", "derivation_steps", "budget_settings", "facts", "sessions", "session_keys", "session_values", "rollups", "user_rollups",
		}, table)
		if partition || other || strings.HasPrefix(table, "prompt_search") {
			continue
		}
		found++
		if !slices.Contains(exported, column) {
			t.Errorf("%s is in no export", column)
		}
	}
	if err := rows.Err(); err != nil || found != len(exported) {
		t.Errorf("%d of %d columns, %v", found, len(exported), err)
	}
}

// What SQLite exports, PostgreSQL imports and exports the same, and back.
func TestMoveBetweenEngines(t *testing.T) {
	t.Parallel()
	engine.SQLiteOnly(t) // One run is enough.
	server := postgrestest.New(t, postgrestest.Options{})
	db, err := postgres.Open(t.Context(), server.Address("postgres"), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	middle := serverOn(t, db, "")
	from := newControlPlane(t)
	from.odd(t)
	rows := from.exported(t)
	middle.mustImport(t, rows)
	if digest(middle.exported(t)) != digest(rows) {
		for i, row := range middle.exported(t) {
			if i >= len(rows) || !bytes.Equal(row, rows[i]) {
				t.Fatalf("row %d is\n%.300s\nwant\n%.300s", i, row, rows[min(i, len(rows)-1)])
			}
		}
		t.Error("rows are missing")
	}
	path := filepath.Join(t.TempDir(), "back.db")
	file, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	back := serverOn(t, file, path)
	back.mustImport(t, middle.exported(t))
	if digest(back.exported(t)) != digest(rows) {
		t.Error("what came back is different")
	}
	checkJSON(t, middle.report(t, aibridgedserver.InterceptionFilter{}), from.report(t, aibridgedserver.InterceptionFilter{}))
	var again proto.RecordBatchRequest // Records that are still in a queue are the same ones in the new database.
	again.Records = sixKinds(newID())
	for _, c := range []controlPlane{from, middle} {
		if _, err := c.RecordBatch(t.Context(), &again); err != nil {
			t.Fatal(err)
		}
	}
	middle.mustImport(t, from.exported(t))
	if digest(middle.exported(t)) != digest(from.exported(t)) {
		t.Error("what was stored in both is different")
	}
}
