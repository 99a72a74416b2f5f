package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/recordgen"
	"github.com/coder/aibridged/internal/visible"
	"github.com/coder/aibridged/proto"
)

// spent stores what two users did in the last days, and an interception whose texts are hostile.
func spent(t *testing.T, s settings) {
	t.Helper()
	err := withStore(t.Context(), s, func(store *store) error {
		var users []string
		for _, name := range []string{"ada", "bob"} {
			_, key, err := store.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: name})
			if err != nil {
				return err
			}
			users = append(users, key.UserID)
		}
		now := time.Now()
		o := recordgen.Options{Interceptions: 200, Users: users, From: now.Add(-3 * 24 * time.Hour), To: now.Add(-2 * time.Hour), Seed: 1}
		for batch := range recordgen.Batches(o) {
			if _, err := store.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: batch}); err != nil {
				return err
			}
		}
		id, session := uuid.Must(uuid.NewV7()).String(), "=cmd|' /C calc'!A0"
		_, err := store.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: []*proto.Record{
			{Record: &proto.Record_Interception{Interception: &proto.RecordInterceptionRequest{
				Id: id, InitiatorId: users[0], Model: "=1+1\x1b[31m", Client: "@client", ClientSessionId: &session, StartedAt: timestamppb.New(now.Add(-time.Hour)),
			}}},
			{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
				InterceptionId: id, RecordId: uuid.NewString(), Prompt: "-2+3\x1b]0;title\x07 \u202egnp.exe", CreatedAt: timestamppb.New(now.Add(-time.Hour)),
			}}},
		}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// onEachEngine runs a test on a database of each engine.
func onEachEngine(t *testing.T, test func(t *testing.T, s settings)) {
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, settings{dataDir: t.TempDir()})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, settings{dataDir: t.TempDir(), postgres: newPostgres(t).Address("postgres")})
	})
}

// run runs a command on the database.
func (s settings) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	return run(t.Context(), append(args, "--data-dir", s.dataDir, "--database", s.postgres)...)
}

func TestUsage(t *testing.T) {
	t.Parallel()
	if _, _, err := run(t.Context(), "usage", "--data-dir", t.TempDir()); err == nil {
		t.Error("there is a usage where no gateway was")
	}
	onEachEngine(t, checkUsage)
}

func checkUsage(t *testing.T, s settings) {
	spent(t, s)
	usage := func(args ...string) string {
		t.Helper()
		out, stderr, err := s.run(t, append([]string{"usage"}, args...)...)
		if err != nil || stderr != "" {
			t.Fatalf("%q: %v, %s", args, err, stderr)
		}
		return out
	}
	table := usage()
	if !strings.HasSuffix(strings.Split(table, "\n")[0], "USER") || !strings.Contains(table, " ada\n") || !strings.Contains(table, " bob\n") ||
		!strings.Contains(table, " TOTAL\n") || !strings.Contains(table, "no price, at least for a part: our-own-model, ") {
		t.Errorf("%s", table)
	}
	if table := usage("--by", "group"); !strings.Contains(table, " TOTAL\n") {
		t.Errorf("%s", table)
	}
	for _, by := range []string{"user", "group", "model", "client", "provider", "tool", "outcome", "day", "session"} {
		if out := usage("--by", by, "--csv") + usage("--by", by, "--json"); strings.ContainsFunc(out, visible.IsHidden) {
			t.Errorf("by %s:\n%q", by, out)
		}
		if out := usage("--by", by); strings.ContainsAny(out, "\x1b\x07\u202e") || !strings.Contains(out, "\nof what began from ") || strings.Count(out, "\n") < 2 {
			t.Errorf("by %s:\n%q", by, out)
		}
		rows, err := csv.NewReader(strings.NewReader(usage("--by", by, "--csv"))).ReadAll()
		if err != nil || len(rows) < 2 || rows[0][0] != by {
			t.Fatalf("by %s: %v, %v", by, rows, err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t") {
					t.Errorf("by %s: a spreadsheet computes %q", by, cell)
				}
			}
		}
		for line := range strings.Lines(usage("--by", by, "--json")) {
			var row map[string]any
			if err := json.Unmarshal([]byte(line), &row); err != nil || row["requests"] == nil || (row["usd"] == nil) != (by == "tool") || row["from"] == nil {
				t.Errorf("by %s: %s", by, line)
			}
		}
	}
	if out := usage("--user", "bob", "--since", "5d"); strings.Contains(out, "ada") || !strings.Contains(out, "bob") {
		t.Errorf("%s", out)
	}
	if out := usage("--since", "30m"); strings.Contains(out, "ada") {
		t.Errorf("%s", out)
	}
	for _, wrong := range [][]string{
		{"--by", "mood"}, {"--csv", "--json"}, {"--user", "nobody"}, {"--since", "soon"}, {"--since", "1h", "--until", "2h"}, {"--until", "-3d"},
		{"--since", time.Now().Add(time.Minute).Format(time.RFC3339)}, {"--since", "2026-01-01T10:01:00Z", "--until", "2026-01-01T10:09:00Z"},
	} {
		if out, _, err := s.run(t, append([]string{"usage"}, wrong...)...); err == nil {
			t.Errorf("%q is accepted: %s", wrong, out)
		}
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	onEachEngine(t, checkSession)
}

func checkSession(t *testing.T, s settings) {
	spent(t, s)
	out, _, err := s.run(t, "session", "=cmd|' /C calc'!A0")
	if err != nil || strings.ContainsAny(out, "\x1b\x07\u202e") || !strings.Contains(out, "1. -2+3 ]0;title gnp.exe") || !strings.Contains(out, "ada with @client") {
		t.Errorf("%q, %v", out, err)
	}
	rows, _, err := s.run(t, "usage", "--by", "session", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var dearest struct{ Value string }
	if err := json.NewDecoder(strings.NewReader(rows)).Decode(&dearest); err != nil {
		t.Fatal(err)
	}
	out, _, err = s.run(t, "session", dearest.Value)
	if err != nil || !strings.Contains(out, "calls ") || !strings.Contains(out, "\n2. ") && !strings.Contains(out, "\n1. ") {
		t.Errorf("%s, %v", out, err)
	}
	out, _, err = s.run(t, "session", dearest.Value, "--json")
	var part map[string]any
	if jsonErr := json.Unmarshal([]byte(out), &part); err != nil || jsonErr != nil || part["turns"] == nil {
		t.Errorf("%s, %v, %v", out, err, jsonErr)
	}
	for _, args := range [][]string{{"session", "=cmd|' /C calc'!A0", "--json"}, {"interceptions", "--json"}} {
		if out, _, err := s.run(t, args...); err != nil || strings.ContainsFunc(out, visible.IsHidden) || !strings.Contains(out, `\u202egnp`) {
			t.Errorf("%q: %q, %v", args, out, err)
		}
	}
	if _, _, err := s.run(t, "session", "nothing"); err == nil || !strings.Contains(err.Error(), "usage --by session") {
		t.Errorf("%v", err)
	}
}

// Prices of the configuration count, and those of the past once costs are computed anew. A command without a configuration
// has those that serve has saved.
func TestReprice(t *testing.T) {
	t.Parallel()
	onEachEngine(t, checkReprice)
}

func checkReprice(t *testing.T, s settings) {
	spent(t, s)
	file := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("prices:\n  - model: our-own-*\n    input: 0.1\n    output: \"0.2\"\n    cache_read: 0.01\n    long_context: {above: 100000, input: 0.3}\n    factors: {gold: 2}\n" +
		"  - {model: '*', input: 0, output: 0, cache_read: 0, from: 2999-01-01}\n")
	if out, _, err := s.run(t, "usage", "--by", "model"); err != nil || !strings.Contains(out, "no price, at least for a part: our-own-model") {
		t.Errorf("%s, %v", out, err)
	}
	out, _, err := s.run(t, "reprice", "--config", file)
	if err != nil || out != "the costs of 201 interceptions are computed anew\n" {
		t.Errorf("%q, %v", out, err)
	}
	out, _, err = s.run(t, "usage", "--by", "model")
	if err != nil || strings.Contains(out, "our-own-model, 1") {
		t.Errorf("%s, %v", out, err)
	}
	for _, wrong := range []string{
		"- input: 1", "- {model: m, input: much}", "- {model: m, input: -1}", "- {model: m, from: soon}", "- {model: m, inputs: 1}",
		"- {model: m, long_context: {above: 5}}", "- {model: m, factors: {gold: 0}}",
	} {
		write("prices:\n  " + wrong + "\n")
		if _, err := loadConfig(file); err == nil {
			t.Errorf("%s is accepted", wrong)
		}
	}
}

func TestUserGroups(t *testing.T) {
	t.Parallel()
	onEachEngine(t, checkUserGroups)
}

func checkUserGroups(t *testing.T, s settings) {
	spent(t, s)
	for _, args := range [][]string{{"set", "ada", "red", "blue", "--from", "2026-01-01"}, {"set", "ada", "red", "--from", "1d"}} {
		if _, _, err := s.run(t, append([]string{"user", "group"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	out, _, err := s.run(t, "user", "group", "list")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); err != nil || len(lines) != 3 || !strings.Contains(lines[1], "blue") || strings.HasSuffix(lines[1], "-") ||
		!strings.HasSuffix(strings.TrimSpace(lines[2]), "-") {
		t.Errorf("%s, %v", out, err)
	}
	if out, _, err := s.run(t, "usage", "--by", "group"); err != nil || !strings.Contains(out, " red\n") || !strings.Contains(out, " blue\n") {
		t.Errorf("%s, %v", out, err)
	}
	if _, _, err := s.run(t, "user", "group", "set", "nobody", "red"); err == nil || !strings.Contains(err.Error(), "token list") {
		t.Errorf("%v", err)
	}
}
