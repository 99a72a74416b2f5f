package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/proto"
)

// A gateway moves from SQLite to PostgreSQL and back, with an export that was cut off anywhere, and the digests say that
// nothing is lost. The tokens go on working.
func TestMove(t *testing.T) {
	t.Setenv(encryptionVariable, newEncryptionKey()) // All databases and gateways have the same key.
	server := newPostgres(t)
	data, back := t.TempDir(), t.TempDir()
	token := newToken(t, data)
	store, err := openStore(t.Context(), settings{dataDir: data}, slog.Logger{})
	check(t, err)
	for n := range 30 {
		id := uuid.Must(uuid.NewV7()).String()
		_, err := store.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: []*proto.Record{
			{Record: &proto.Record_Interception{Interception: &proto.RecordInterceptionRequest{Id: id, InitiatorId: id, Model: "m", StartedAt: timestamppb.Now()}}},
			{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
				InterceptionId: id, RecordId: id, Prompt: fmt.Sprint(n, "\x00\n", strings.Repeat("long ", n*n*100)), CreatedAt: timestamppb.Now(),
			}}},
		}})
		check(t, err)
	}
	check(t, store.Close())
	command := func(args ...string) string {
		t.Helper()
		out, errOut, err := run(t.Context(), args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if strings.Contains(out+errOut, token[11:]) {
			t.Errorf("%v shows the secret of the token", args)
		}
		return out
	}
	onPostgres := []string{"--data-dir", t.TempDir(), "--database", server.Address("postgres")}

	whole := command("export", "--data-dir", data)
	digest := command("export", "--digest", "--data-dir", data)
	if want := fmt.Sprintf("%x\n", sha256.Sum256([]byte(whole))); digest != want {
		t.Errorf("the digest is %s, that of the export %s", digest, want)
	}
	file := filepath.Join(t.TempDir(), "export.jsonl")
	for _, size := range []int{0, 1, strings.IndexByte(whole, '\n'), strings.IndexByte(whole, '\n') + 1, len(whole) / 3, len(whole) - 1, len(whole)} {
		check(t, os.WriteFile(file, []byte(whole[:size]), 0o600))
		command("export", file, "--data-dir", data)
		if got, err := os.ReadFile(file); err != nil || string(got) != whole {
			t.Fatalf("taken up behind %d bytes of %d, the export has %d, %v", size, len(whole), len(got), err)
		}
	}
	cut := filepath.Join(t.TempDir(), "cut.jsonl")
	check(t, os.WriteFile(cut, []byte(whole[:len(whole)-9]), 0o600))
	if _, _, err := run(t.Context(), append(onPostgres, "import", cut)...); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("an export that is cut off: %v", err)
	}
	command(append(onPostgres, "import", file)...)
	if got := command(append(onPostgres, "export", "--digest")...); got != digest {
		t.Errorf("in PostgreSQL the digest is %s, want %s", got, digest)
	}
	returned := filepath.Join(t.TempDir(), "returned.jsonl")
	command(append(onPostgres, "export", returned)...)
	command("import", returned, "--data-dir", back)
	if got := command("export", "--digest", "--data-dir", back); got != digest {
		t.Errorf("back in SQLite the digest is %s, want %s", got, digest)
	}

	t.Setenv(databaseVariable, server.Address("postgres"))
	s := serveHere(t)
	if status, answer := s.ask(t, "/anthropic/v1/messages", token, helloBody); status != 200 {
		t.Errorf("the token in PostgreSQL: %d %s", status, answer)
	}
}

// FuzzReadRows checks that rows come back as they were written, and that a cut is noticed wherever it is not between rows.
func FuzzReadRows(f *testing.F) {
	f.Add("", 0)
	f.Add("{}\n{}\n", 3)
	f.Add("{}\n{}", 5)
	f.Add("\n\n", 1)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		if cut < 0 || cut > len(text) {
			return
		}
		text = text[:cut]
		var read []string
		var failure error
		for row, err := range readRows(strings.NewReader(text)) {
			if failure = err; err == nil {
				read = append(read, string(row)+"\n")
			}
		}
		whole := text == "" || strings.HasSuffix(text, "\n")
		if (failure == nil) != whole || !strings.HasPrefix(text, strings.Join(read, "")) || whole && strings.Join(read, "") != text {
			t.Errorf("%q is read as %q, %v", text, read, failure)
		}
	})
}

// A gateway that runs serves what an import brings, and a second import of its source says what differs, and ends it if it is told to.
func TestImportBesideServe(t *testing.T) {
	s := serveHere(t)
	token := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "ada"))
	t.Setenv(encryptionVariable, "")
	from := t.TempDir()
	key, err := os.ReadFile(filepath.Join(s.data, "encryption.key"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(from, "encryption.key"), key, 0o600))
	source := func(input string, args ...string) string {
		t.Helper()
		cmd := newCommand()
		var out strings.Builder
		cmd.SetArgs(append(args, "--data-dir", from))
		cmd.SetIn(strings.NewReader(input))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		check(t, cmd.ExecuteContext(t.Context()))
		return out.String()
	}
	var upstream string
	for line := range strings.Lines(s.must(t, "", "provider", "list", "--json")) {
		var report providerReport
		check(t, json.Unmarshal([]byte(line), &report))
		if report.Name == "anthropic" {
			upstream = report.BaseURL
		}
	}
	source("", "token", "create", "--user", "bob")
	source("key-of-extra\n", "provider", "add", "extra", "--type", "anthropic", "--base-url", upstream, "--key", "-")
	source("", "mcp-server", "add", "more", "--url", "http://127.0.0.1:1/mcp")
	file := filepath.Join(t.TempDir(), "1.jsonl")
	source("", "export", file)
	s.must(t, "", "import", file)
	within(t, "^200 ", func() string {
		status, answer := s.ask(t, "/extra/v1/messages", token, helloBody)
		return fmt.Sprint(status, " ", answer)
	})
	source("", "provider", "remove", "extra")
	again := filepath.Join(t.TempDir(), "2.jsonl")
	source("", "export", again)
	var told strings.Builder
	for _, args := range [][]string{{"import", again}, {"import", "--exact", again}} {
		cmd := newCommand()
		cmd.SetArgs(append(args, "--data-dir", s.data))
		cmd.SetErr(&told)
		check(t, cmd.ExecuteContext(t.Context()))
	}
	if text := told.String(); strings.Count(text, "provider extra is not in the export") != 1 || !strings.Contains(text, "--exact") {
		t.Errorf("the imports say\n%s", text)
	}
	within(t, "^404 ", func() string {
		status, answer := s.ask(t, "/extra/v1/messages", token, helloBody)
		return fmt.Sprint(status, " ", answer)
	})
}
