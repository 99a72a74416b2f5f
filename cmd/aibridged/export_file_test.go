package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/proto"
)

// record stores an interception with a prompt.
func record(t *testing.T, data string) {
	t.Helper()
	store, err := openStore(t.Context(), settings{dataDir: data}, slog.Logger{})
	check(t, err)
	id := uuid.Must(uuid.NewV7()).String()
	_, err = store.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: []*proto.Record{
		{Record: &proto.Record_Interception{Interception: &proto.RecordInterceptionRequest{Id: id, InitiatorId: id, Model: "m", StartedAt: timestamppb.Now()}}},
		{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
			InterceptionId: id, RecordId: id, Prompt: "hello", CreatedAt: timestamppb.Now(),
		}}},
	}})
	check(t, err)
	check(t, store.Close())
}

// wholeExport returns the export of a database as of now.
func wholeExport(t *testing.T, data string) string {
	t.Helper()
	out, _, err := run(t.Context(), "export", "--data-dir", data)
	check(t, err)
	return out
}

// An export to a file that is not empty completes it, or is refused and changes nothing.
func TestExportToFile(t *testing.T) {
	t.Parallel()
	data, another := t.TempDir(), t.TempDir()
	for _, dir := range []string{data, another} {
		newToken(t, dir)
		record(t, dir)
	}
	first, other := wholeExport(t, data), wholeExport(t, another)
	users := strings.IndexByte(first, '\n') + 1
	file := filepath.Join(t.TempDir(), "export.jsonl")
	export := func(had string) (got, said string, err error) {
		t.Helper()
		check(t, os.WriteFile(file, []byte(had), 0o600))
		_, said, err = run(t.Context(), "export", file, "--data-dir", data)
		content, failure := os.ReadFile(file)
		check(t, failure)
		return string(content), said, err
	}
	completed := func(name, had, want string) {
		t.Helper()
		if got, said, err := export(had); err != nil || got != want {
			t.Errorf("%s: %q, %v, the file has\n%s\nwant\n%s", name, said, err, got, want)
		}
	}
	refused := func(name, had string) {
		t.Helper()
		got, said, err := export(had)
		if err == nil || !strings.Contains(err.Error(), "choose another file") || said != "" {
			t.Errorf("%s: %q, %v", name, said, err)
		}
		if got != had {
			t.Errorf("%s: the file has changed to\n%s", name, got)
		}
	}

	store, err := openStore(t.Context(), settings{dataDir: data}, slog.Logger{})
	check(t, err)
	for cut := range len(first) + 1 {
		check(t, os.WriteFile(file, []byte(first[:cut]), 0o600))
		rows, err := exportTo(file, store.Export(t.Context()))
		if got, failure := os.ReadFile(file); err != nil || failure != nil || string(got) != first || rows != strings.Count(first[cut:], "\n") {
			t.Fatalf("cut at byte %d of %d: %d rows, %v, %v, the file has\n%s", cut, len(first), rows, err, failure, got)
		}
	}
	check(t, store.Close())

	completed("finished, and nothing is new", first, first)
	if _, said, _ := export(first); !strings.HasPrefix(said, "0 rows added") {
		t.Errorf("nothing is new: %q", said)
	}
	refused("another database", other)
	refused("another database, cut off", other[:len(other)-9])
	refused("more than the export", first+"\n")
	refused("more than the export, a row of another database", first+other[strings.LastIndexByte(other[:len(other)-1], '\n')+1:])
	refused("other text", "notes")
	refused("the last byte", first[:len(first)-2]+"]\n")

	newToken(t, data)
	second := wholeExport(t, data)
	if !strings.HasPrefix(second, first[:users]) {
		t.Fatal("the new token is before the user")
	}
	refused("a token since", first)
	completed("a token since, after the users", first[:users], second)

	record(t, data)
	third := wholeExport(t, data)
	refused("an interception since", second)
	completed("an interception since, after the users", second[:users], third)

	_, _, err = run(t.Context(), "token", "create", "--user", "grace", "--data-dir", data)
	check(t, err)
	fourth := wholeExport(t, data)
	refused("a user since", third)
	refused("a user since, cut off", third[:len(third)/2])
	if strings.HasPrefix(fourth, third[:users]) { // The ids of users are random.
		completed("a user since, behind what the file has", third[:users], fourth)
	} else {
		refused("a user since, before what the file has", third[:users])
	}
}

// FuzzExportFile checks that a file has the whole export in the end, or what it had before and an error: whether it had the
// beginning of the export decides.
func FuzzExportFile(f *testing.F) {
	f.Add("", "{}\n{}\n")
	f.Add("{}\n{", "{}\n{}\n")
	f.Add("{}\n{}\n", "{}\n")
	f.Add("{}\n[", "{}\n{}\n")
	f.Add(strings.Repeat("x", 70000)+"\n", strings.Repeat("x", 70000)+"\n{}\n")
	f.Fuzz(func(t *testing.T, had, whole string) {
		if whole != "" && !strings.HasSuffix(whole, "\n") {
			return
		}
		path := filepath.Join(t.TempDir(), "export.jsonl")
		check(t, os.WriteFile(path, []byte(had), 0o600))
		rows, err := exportTo(path, func(yield func([]byte, error) bool) {
			for row := range strings.Lines(whole) {
				if !yield([]byte(strings.TrimSuffix(row, "\n")), nil) {
					return
				}
			}
		})
		want, added := had, 0
		if strings.HasPrefix(whole, had) {
			want, added = whole, strings.Count(whole[len(had):], "\n")
		}
		got, failure := os.ReadFile(path)
		check(t, failure)
		if (err == nil) != strings.HasPrefix(whole, had) || string(got) != want || rows != added {
			t.Errorf("%q, to be %q, is %q, %d rows, %v", had, whole, got, rows, err)
		}
	})
}
