package sqlite

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pressly/goose/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// openVersion makes a database as an earlier version of the program left it.
func openVersion(t *testing.T, path string, names ...string) *sql.DB {
	t.Helper()
	if err := makeFile(path); err != nil {
		t.Fatal(err)
	}
	db, err := connect(path, 1, url.Values{"_journal_mode": {"WAL"}})
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, name := range names {
		text, err := fs.ReadFile(migrations, "migrations/"+name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestUpgrade opens a database of version 1: its records are still there, and values that it did not store are NULL.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	old := openVersion(t, path, "00001_control_plane.sql")
	const id, user = "019ab000-0000-7000-8000-000000000001", "019ab000-0000-7000-8000-00000000000f"
	for _, insert := range []string{
		`INSERT INTO interceptions VALUES ('` + id + `', '` + user + `', 'k', 'openai', 'main', 'm', 'Codex', NULL, 'codex/1', NULL, 'byok', 'sk', NULL, NULL, '{}', 7)`,
		`INSERT INTO interception_ends VALUES ('` + id + `', 9, 'sk', 'timeout', 'slow')`,
	} {
		if _, err := old.ExecContext(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // The second time there is nothing to do.
		db, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		all := interceptions(t, db)
		if len(all) != 1 || all[0].ID != id || all[0].InitiatorID != user || all[0].Model != "m" || *all[0].ErrorType != "timeout" {
			t.Errorf("got %+v", all)
		} else if i := all[0]; i.RequestBytes != nil || i.RequestSHA256 != nil || i.ResponseBytes != nil || i.ResponseSHA256 != nil {
			t.Errorf("digests of %+v", i)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// interceptions returns all interceptions, as a report does.
func interceptions(t *testing.T, db aibridgedserver.Database) (all []*aibridgedserver.Interception) {
	t.Helper()
	server, err := aibridgedserver.New(t.Context(), db, aibridgedserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for interception, err := range server.Interceptions(t.Context(), aibridgedserver.InterceptionFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, interception)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// openVersion2 makes a database from a dump. The last program before version 3 made the dumped one: its gateway had
// conversations in all three formats, of which some failed, and was killed while one was under way.
func openVersion2(t *testing.T, path string) *sql.DB {
	t.Helper()
	dump, err := os.ReadFile("testdata/version2.sql")
	if err != nil {
		t.Fatal(err)
	}
	if err := makeFile(path); err != nil {
		t.Fatal(err)
	}
	db, err := connect(path, 1, url.Values{"_journal_mode": {"WAL"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), string(dump)); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestUpgradeKeepsReports compares the output of that program's "interceptions --json" with a report of the migrated
// database.
func TestUpgradeKeepsReports(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	if err := openVersion2(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got bytes.Buffer
	encoder := json.NewEncoder(&got)
	encoder.SetEscapeHTML(false)
	for _, interception := range interceptions(t, db) {
		if err := encoder.Encode(interception); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/version2.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := bytes.ReplaceAll(got.Bytes(), []byte(`"first_byte_us":null,"unread":null,`), nil); !bytes.Equal(got, want) { // They came later.
		t.Errorf("got\n%swant\n%s", got, want)
	}
	var tables, left int
	err = db.Reader.QueryRowContext(t.Context(), `SELECT count(*), coalesce(sum(name LIKE 'old%'), 0) FROM sqlite_schema
		WHERE type = 'table'`).Scan(&tables, &left)
	if err != nil || left > 0 {
		t.Errorf("of %d tables %d are old, %v", tables, left, err)
	}
}

// TestUpgradeKeepsWhatHasNotStarted migrates an end, and a record of each other kind, of interceptions whose start has
// not come. Reports show them once it has.
func TestUpgradeKeepsWhatHasNotStarted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "control.db")
	old := openVersion2(t, path)
	id := func(n int) string { return fmt.Sprintf("019ab000-0000-7000-8000-%012d", n) }
	record := func(n int) string { return `'` + id(100+n) + `', '` + id(n) + `'` }
	for _, insert := range []string{
		`INSERT INTO interception_ends VALUES ('` + id(1) + `', 9000000, 'sk-b', 'timeout', 'slow', 7, x'ab')`,
		`INSERT INTO token_usages VALUES (1001, ` + record(1) + `, 'm', 1, 2, 3, 4, '{}', 8000000)`,
		`INSERT INTO token_usages VALUES (1002, ` + record(2) + `, 'm', 1, 2, 3, 4, '{}', 8000000)`,
		`INSERT INTO prompt_usages VALUES (1003, ` + record(3) + `, 'm', '{}', 8000000)`,
		`INSERT INTO prompt_texts VALUES (1003, 'Hi')`,
		`INSERT INTO tool_usages VALUES (1004, ` + record(4) + `, 'm', 'c', 'i', NULL, 'Bash', 1, NULL, '{}', 8000000)`,
		`INSERT INTO tool_inputs VALUES (1004, '{}')`,
		`INSERT INTO model_thoughts VALUES (1005, ` + record(5) + `, '{}', 8000000)`,
		`INSERT INTO thought_texts VALUES (1005, 'Hm')`,
	} {
		if _, err := old.ExecContext(t.Context(), insert); err != nil {
			t.Fatalf("%s: %v", insert, err)
		}
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	before := len(interceptions(t, db))
	server, err := aibridgedserver.New(t.Context(), db, aibridgedserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for n := 1; n <= 5; n++ {
		_, err := server.RecordInterception(t.Context(), &proto.RecordInterceptionRequest{
			Id: id(n), InitiatorId: id(50), Model: "late", StartedAt: timestamppb.New(time.UnixMicro(7_000_000)),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	all := interceptions(t, db)
	if len(all) != before+5 {
		t.Fatalf("%d interceptions, %d before", len(all), before)
	}
	counts := make([]int, 5)
	for _, i := range all[:5] { // They are the oldest.
		if i.Model != "late" || i.StartedAt.UnixMicro() != 7_000_000 {
			t.Errorf("got %+v", i)
		}
		counts[0] += len(i.TokenUsages)
		counts[1] += len(i.Prompts)
		counts[2] += len(i.ToolUsages)
		counts[3] += len(i.ModelThoughts)
		if i.EndedAt != nil {
			counts[4]++
		}
	}
	if want := []int{2, 1, 1, 1, 1}; !slices.Equal(counts, want) {
		t.Errorf("there are %v, want %v", counts, want)
	}
	if i := all[0]; i.EndedAt == nil || i.EndedAt.UnixMicro() != 9_000_000 || *i.ErrorMessage != "slow" || *i.ResponseBytes != 7 ||
		*i.ResponseSHA256 != "ab" || i.CredentialHint != "sk-b" {
		t.Errorf("ended as %+v", i)
	}
}

// TestPricedAnew runs migration 16 on a database of today: it notes what may cost something else now, and all if the configuration has
// prices.
func TestPricedAnew(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "control.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	text, err := fs.ReadFile(migrations, "migrations/00016_priced_anew.sql")
	if err != nil {
		t.Fatal(err)
	}
	exec := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := db.Writer.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n, provider := range []string{"bedrock", "anthropic", "anthropic", "openai"} {
		exec(fmt.Sprintf(`INSERT INTO interceptions (id, started, started_at, provider) VALUES (x'%032x', TRUE, %[1]d, '%s')`, n+1, provider))
	}
	for n, call := range map[int]string{2: "srvtoolu_1", 3: "toolu_1"} {
		exec(fmt.Sprintf(`INSERT INTO tool_usages (interception_id, record_id, created_at, msg_id, tool_call_id, item_id, tool, injected, metadata, input)
			VALUES (x'%032x', x'%032x', 1, '', '%s', '', 'web_search', FALSE, '{}', '{}')`, n, n, call))
	}
	noted := func() (n int) {
		exec(`DELETE FROM touched`, string(text))
		if err := db.Reader.QueryRowContext(t.Context(), `SELECT coalesce(sum(length(ids)), 0) / 16 FROM touched`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := noted(); n != 2 {
		t.Errorf("%d are noted, want 2", n)
	}
	exec(`INSERT INTO price_overrides (only_row, overrides) VALUES (TRUE, 'null')`)
	if n := noted(); n != 2 {
		t.Errorf("without prices %d are noted, want 2", n)
	}
	exec(`UPDATE price_overrides SET overrides = '[{"Model":"m"}]'`)
	if n := noted(); n != 4 {
		t.Errorf("with prices %d are noted, want all 4", n)
	}
}
