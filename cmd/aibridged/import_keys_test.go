package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridgedserver/postgres"
)

// runWith runs a command with a standard input and returns all that it prints.
func runWith(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	cmd := newCommand()
	var out strings.Builder
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func mustRunWith(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := runWith(t, input, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// notSeekable is a standard input that can be read once.
type notSeekable struct{ *strings.Reader }

func (notSeekable) Seek(int64, int) (int64, error) { return 0, os.ErrInvalid }

// An import never stands beside a key that cannot read its secrets: it stores nothing until the key is there, however the export
// comes, whichever version wrote it and wherever the database is.
func TestImportNeedsTheKey(t *testing.T) {
	t.Setenv(encryptionVariable, "")
	from := t.TempDir()
	mustRunWith(t, "", "token", "create", "--user", "ada", "--data-dir", from)
	mustRunWith(t, "key-of-p\n", "provider", "add", "p", "--type", "openai", "--key", "-", "--data-dir", from)
	file := filepath.Join(t.TempDir(), "export.jsonl")
	mustRunWith(t, "", "export", file, "--data-dir", from)
	text, err := os.ReadFile(file)
	check(t, err)
	_, older, _ := strings.Cut(string(text), "\n") // Without the row that names the key.
	olderFile := filepath.Join(t.TempDir(), "older.jsonl")
	check(t, os.WriteFile(olderFile, []byte(older), 0o600))
	key, err := os.ReadFile(filepath.Join(from, "encryption.key"))
	check(t, err)
	digest := mustRunWith(t, "", "export", "--digest", "--data-dir", from)
	address := newPostgres(t).Address("postgres")

	for name, test := range map[string]struct {
		args  []string
		input string
		want  string
	}{
		"file":                     {args: []string{"import", file}, want: "copy encryption.key from"},
		"exact":                    {args: []string{"import", "--exact", file}, want: "copy encryption.key from"},
		"standard input":           {args: []string{"import", "-"}, input: string(text), want: "copy encryption.key from"},
		"older version":            {args: []string{"import", olderFile}, want: "copy encryption.key from"},
		"older, standard input":    {args: []string{"import", "-"}, input: older, want: "import it from a file"},
		"PostgreSQL":               {args: []string{"import", file, "--database", address}, want: "copy encryption.key from"},
		"a line that is cut early": {args: []string{"import", "-"}, input: older[:20], want: "import it from a file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			cmd := newCommand()
			cmd.SetArgs(append(test.args, "--data-dir", dir))
			cmd.SetIn(notSeekable{strings.NewReader(test.input)})
			err := cmd.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "nothing was stored") {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if strings.Contains(test.want, "copy") && !strings.Contains(err.Error(), filepath.Join(dir, "encryption.key")) {
				t.Errorf("it does not say where to: %v", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("something was made in the data directory")
			}
			if empty, err := postgres.IsEmpty(t.Context(), address); err != nil || !empty {
				t.Errorf("the database: empty %t, %v", empty, err)
			}
			check(t, os.MkdirAll(dir, 0o700))
			check(t, os.WriteFile(filepath.Join(dir, "encryption.key"), key, 0o600))
			if test.input == older[:20] || test.args[len(test.args)-1] == address {
				return
			}
			cmd = newCommand()
			cmd.SetArgs(append(test.args, "--data-dir", dir))
			cmd.SetIn(notSeekable{strings.NewReader(test.input)})
			check(t, cmd.ExecuteContext(t.Context()))
			if got := mustRunWith(t, "", "export", "--digest", "--data-dir", dir); got != digest {
				t.Error("with the key, the content is different")
			}
		})
	}
}

// A data directory with a key of its own takes another one beside it, and a rotation makes one of both.
func TestImportBesideAnotherKey(t *testing.T) {
	t.Setenv(encryptionVariable, "")
	from, to := t.TempDir(), t.TempDir()
	mustRunWith(t, "key-of-p\n", "provider", "add", "p", "--type", "openai", "--key", "-", "--data-dir", from)
	mustRunWith(t, "key-of-q\n", "provider", "add", "q", "--type", "openai", "--key", "-", "--data-dir", to)
	file := filepath.Join(t.TempDir(), "export.jsonl")
	mustRunWith(t, "", "export", file, "--data-dir", from)
	before := mustRunWith(t, "", "export", "--digest", "--data-dir", to)
	_, err := runWith(t, "", "import", file, "--data-dir", to)
	if err == nil || !strings.Contains(err.Error(), "add the other one behind it, on a line of its own") {
		t.Errorf("got %v", err)
	}
	if mustRunWith(t, "", "export", "--digest", "--data-dir", to) != before {
		t.Error("something was stored")
	}
	path := filepath.Join(to, "encryption.key")
	own, err := os.ReadFile(path)
	check(t, err)
	other, err := os.ReadFile(filepath.Join(from, "encryption.key"))
	check(t, err)
	check(t, os.WriteFile(path, append(own, other...), 0o600))
	mustRunWith(t, "", "import", file, "--data-dir", to)
	mustRunWith(t, "", "secrets", "rotate", "--data-dir", to)
	if now, err := os.ReadFile(path); err != nil || strings.Count(string(now), "\n") != 1 {
		t.Errorf("the key file is %q, %v", now, err)
	}
	if out := mustRunWith(t, "", "secrets", "rotate", "--drop-unreadable", "--data-dir", to); out != "" {
		t.Errorf("secrets were lost: %s", out)
	}
}
