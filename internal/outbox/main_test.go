package outbox

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"go.uber.org/goleak"
)

// TestMain is also the main function of the processes that tests start: see child.
func TestMain(m *testing.M) {
	child := flag.String("child", "", "what to be instead of a test")
	flag.Parse()
	if *child != "" {
		os.Exit(runChild(*child, flag.Args()))
	}
	goleak.VerifyTestMain(m)
}

// mustOpen opens a queue, which is closed with the test if the test does not do so.
func mustOpen(t testing.TB, dir string, options Options) *Queue {
	t.Helper()
	q, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return q
}

func mustClose(t testing.TB, q *Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// mustAppend appends entries, each by itself, and waits for all.
func mustAppend(t testing.TB, q *Queue, entries ...string) {
	t.Helper()
	for _, entry := range entries {
		commit, err := q.Append([]byte(entry))
		if err == nil {
			err = commit.Wait(t.Context())
		}
		if err != nil {
			t.Fatalf("append %.20q: %v", entry, err)
		}
	}
}

// mustAppendTogether appends entries at once, so that they become deliverable at once, too.
func mustAppendTogether(t testing.TB, q *Queue, entries ...string) {
	t.Helper()
	var all [][]byte
	for _, entry := range entries {
		all = append(all, []byte(entry))
	}
	commit, err := q.Append(all...)
	if err == nil {
		err = commit.Wait(t.Context())
	}
	if err != nil {
		t.Fatalf("append: %v", err)
	}
}

// mustAppendReserved appends an entry with the room in reserve, and waits for it.
func mustAppendReserved(t testing.TB, q *Queue, entry string) {
	t.Helper()
	commit, err := q.AppendReserved([]byte(entry))
	if err == nil {
		err = commit.Wait(t.Context())
	}
	if err != nil {
		t.Fatalf("append %.20q: %v", entry, err)
	}
}

// receiver takes entries and remembers them.
type receiver struct {
	mu      sync.Mutex
	got     []string
	batches []int
}

func (r *receiver) send(_ context.Context, entries [][]byte) ([]Failure, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, entry := range entries {
		r.got = append(r.got, string(entry))
	}
	r.batches = append(r.batches, len(entries))
	return nil, nil
}

func (r *receiver) entries() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// deliver delivers in the background. The function that it returns ends that and waits for it.
func deliver(t testing.TB, q *Queue, options DeliverOptions, send Send) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var consumer sync.WaitGroup
	consumer.Go(func() {
		if err := q.Deliver(ctx, options, send); !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
			t.Errorf("deliver: %v", err)
		}
	})
	return func() {
		cancel()
		consumer.Wait()
	}
}

// drain delivers all that is pending and returns it.
func drain(t testing.TB, q *Queue) []string {
	t.Helper()
	var r receiver
	stop := deliver(t, q, DeliverOptions{}, r.send)
	flush(t, q)
	stop()
	return r.entries()
}

func flush(t testing.TB, q *Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := q.Flushed(ctx); err != nil {
		t.Fatalf("flush: %v; %+v", err, q.Stats())
	}
}

// numbered returns entries from begin up to and without end.
func numbered(begin, end int) []string {
	entries := make([]string, 0, end-begin)
	for n := begin; n < end; n++ {
		entries = append(entries, fmt.Sprintf("entry %d", n))
	}
	return entries
}

func checkEntries(t testing.TB, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for n := range max(len(got), len(want)) {
		if n >= len(got) || n >= len(want) || got[n] != want[n] {
			t.Fatalf("%d entries, want %d; they differ from number %d on:\ngot  %.200q\nwant %.200q", len(got), len(want), n, got[n:], want[n:])
		}
	}
}

// names returns the files in a directory that match a pattern.
func names(t testing.TB, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// logLines is a sink that remembers its messages.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) LogEntry(_ context.Context, e slog.SinkEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprint(e.Message, " ", e.Fields))
}

func (*logLines) Sync() {}

// count returns how many lines contain a text.
func (l *logLines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// nextLook is when the consumer has looked around again.
func nextLook() <-chan time.Time { return time.After(lookInterval) }
