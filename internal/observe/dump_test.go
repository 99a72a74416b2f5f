package observe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/rawserver"
)

// logSink keeps the entries of a log. Its LogEntry waits while gate is open for reading and not closed.
type logSink struct {
	gate chan struct{}

	mu      sync.Mutex
	entries []slog.SinkEntry
}

func (s *logSink) LogEntry(_ context.Context, e slog.SinkEntry) {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, e)
}

func (*logSink) Sync() {}

// dropped returns the counts of dropped dumps that were logged.
func (s *logSink) dropped(t *testing.T) []int64 {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var counts []int64
	for _, entry := range s.entries {
		for _, field := range entry.Fields {
			if field.Name == "dropped" {
				counts = append(counts, field.Value.(int64))
			}
		}
	}
	return counts
}

// respond is a transport that reads the whole request and answers with a body.
func respond(body string) http.RoundTripper {
	return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return nil, err
			}
		}
		return &http.Response{
			Proto: "HTTP/1.1", Status: "200 OK", StatusCode: http.StatusOK, Header: http.Header{"Request-Id": {"r"}},
			Body: io.NopCloser(strings.NewReader(body)),
		}, nil
	})
}

// dumps returns the contents of the files in dir that have an extension, in the order of their names.
func dumps(t *testing.T, dir, extension string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*."+extension))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	var contents []string
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		contents = append(contents, string(content))
	}
	return contents
}

// wantDump checks that dir holds one dump with these contents.
func wantDump(t *testing.T, dir, request, response string) {
	t.Helper()
	if got := dumps(t, dir, "request"); !slices.Equal(got, []string{request}) {
		t.Errorf("requests %q, want %q", got, request)
	}
	if got := dumps(t, dir, "response"); !slices.Equal(got, []string{response}) {
		t.Errorf("responses %q, want %q", got, response)
	}
}

const requestDump = "POST /v1/messages HTTP/1.1\nHost: provider.example\nX-Api-Key: [redacted]\n\n{\"a\": 1}"

// sent returns the request that requestDump describes.
func sent(t *testing.T) *http.Request {
	t.Helper()
	return request(t, http.MethodPost, "http://provider.example/v1/messages", `{"a": 1}`)
}

func TestDump(t *testing.T) {
	dir, sink := filepath.Join(t.TempDir(), "a", "b"), &logSink{}
	dumper := Dump(respond("data: x\r\n\r\n"), dir, MostHeld, slog.Make(sink))
	r := sent(t)
	before := r.Clone(r.Context())
	resp, body := answer(t, dumper, r)
	if body != "data: x\r\n\r\n" || resp.Request != r {
		t.Errorf("body %q, request %p, want %p", body, resp.Request, r)
	}
	if !reflect.DeepEqual(r.Header, before.Header) || r.Body != before.Body || r.GetBody == nil {
		t.Error("the caller's request has changed")
	}
	dumper.Close()
	dumper.Close()

	wantDump(t, dir, requestDump, "HTTP/1.1 200 OK\nRequest-Id: r\n\ndata: x\r\n\r\n")
	checkModes(t, dir)
	if got := sink.dropped(t); got != nil {
		t.Errorf("log entries about %v dropped dumps", got)
	}
	if dumper.budget.left != MostHeld {
		t.Errorf("%d bytes are still held", MostHeld-dumper.budget.left)
	}

	if _, body := answer(t, dumper, sent(t)); body != "data: x\r\n\r\n" {
		t.Errorf("after Close: body %q", body)
	}
	if got := dumps(t, dir, "request"); len(got) != 1 {
		t.Errorf("%d dumps, want none after Close", len(got)-1)
	}
}

// TestDumpOfARequestSentAgain is about a transport that sends a request again after it has read some of its body, or all:
// the dump has the body once.
func TestDumpOfARequestSentAgain(t *testing.T) {
	for _, first := range []int64{0, 3, 100} {
		dir := t.TempDir()
		var late func()
		dumper := Dump(roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			if _, err := io.CopyN(io.Discard, r.Body, first); err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			again, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			_, _ = io.Copy(io.Discard, r.Body) // The first sending may still go on.
			r.Body, late = again, func() { _ = r.Body.Close() }
			return respond("ok").RoundTrip(r)
		}), dir, MostHeld, slog.Make(&logSink{}))
		answer(t, dumper, sent(t))
		late()
		dumper.Close()
		wantDump(t, dir, requestDump, "HTTP/1.1 200 OK\nRequest-Id: r\n\nok")
		if dumper.budget.left != MostHeld {
			t.Errorf("%d bytes are still held", MostHeld-dumper.budget.left)
		}
	}
}

// checkModes checks that only the gateway's user can read the files, and that both files of a dump share a name of
// ours.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("directory: mode %v", info.Mode())
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	stems := map[string]int{}
	name := regexp.MustCompile(`^(\d{8}T\d{6}\.\d{3}Z-[A-Z2-7]{8})\.(request|response)$`)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		match := name.FindStringSubmatch(entry.Name())
		if info.Mode().Perm() != 0o600 || match == nil {
			t.Errorf("file %s: mode %v", entry.Name(), info.Mode())
			continue
		}
		stems[match[1]]++
	}
	for stem, n := range stems {
		if n != 2 {
			t.Errorf("%d files named %s, want 2", n, stem)
		}
	}
}

func TestDumpRedacts(t *testing.T) {
	dir := t.TempDir()
	dumper := Dump(roundTripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{
			Proto: "HTTP/2.0", Status: "401 Unauthorized", StatusCode: http.StatusUnauthorized, Body: http.NoBody,
			Header: http.Header{"Set-Cookie": {canary, canary}, "X-New-Token": {canary}, "Retry-After": {"1"}},
		}, nil
	}), dir, MostHeld, slog.Make())
	r := request(t, http.MethodGet, "http://provider.example/v1/models?beta=true&key="+canary+"&ACCESS_TOKEN="+canary+
		"&%6bey="+canary+"&%zz="+canary+"&key;limit=1", "")
	for _, name := range []string{
		"Authorization", "Proxy-Authorization", "Api-Key", "x-api-key", "Cookie", "X-Goog-Api-Key", "Client-Secret",
		"X-Amz-Security-Token", "X-Amz-Signature", "X-Amz-Credential", "X-Coder-AI-Governance-Token", "X-Password",
	} {
		r.Header[name] = []string{canary}
	}
	r.Header.Set("User-Agent", "client/1")
	answer(t, dumper, r)
	dumper.Close()

	all := strings.Join(append(dumps(t, dir, "request"), dumps(t, dir, "response")...), "")
	if strings.Contains(all, canary) || strings.Count(all, redacted) != 20 {
		t.Errorf("%d values redacted in %s", strings.Count(all, redacted), all)
	}
	for _, want := range []string{
		"GET /v1/models?beta=true&key=[redacted]&ACCESS_TOKEN=[redacted]&%6bey=[redacted]&[redacted]&key&limit=1 HTTP/1.1\n",
		"User-Agent: client/1\n", "HTTP/2.0 401 Unauthorized\n", "Retry-After: 1\n", "X-New-Token: [redacted]\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in %s", want, all)
		}
	}
}

func TestDumpOfWhatFails(t *testing.T) {
	failure := errors.New("no route")
	broken := func(r io.Reader) http.RoundTripper {
		return roundTripperFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{Proto: "HTTP/1.1", Status: "200 OK", StatusCode: 200, Body: io.NopCloser(r)}, nil
		})
	}
	const unread = "POST /v1/messages HTTP/1.1\nHost: provider.example\nX-Api-Key: [redacted]\n\n" +
		"\n[broken off: not read to its end]\n"
	cases := map[string]struct {
		next     http.RoundTripper
		response string
	}{
		"no response": {
			roundTripperFunc(func(*http.Request) (*http.Response, error) { return nil, failure }), "[no response: no route]\n",
		},
		"broken off": {
			broken(failingBody{strings.NewReader("half"), failure}), "HTTP/1.1 200 OK\n\nhalf\n[broken off: no route]\n",
		},
		"closed early": {
			broken(strings.NewReader("half")), "HTTP/1.1 200 OK\n\nhalf\n[broken off: not read to its end]\n",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			dumper := Dump(c.next, dir, MostHeld, slog.Make())
			resp, err := dumper.RoundTrip(sent(t))
			switch {
			case err != nil && !errors.Is(err, failure):
				t.Error(err)
			case err == nil && name == "closed early":
				_, _ = resp.Body.Read(make([]byte, 4))
				_ = resp.Body.Close()
			case err == nil:
				_, _ = readAll(resp)
			}
			dumper.Close()
			wantDump(t, dir, unread, c.response)
		})
	}
}

func TestDumpIsBounded(t *testing.T) {
	dir := t.TempDir()
	dumper := Dump(respond(strings.Repeat("r", maxDumpBody+7)), dir, MostHeld, slog.Make())
	r := request(t, http.MethodPost, "http://provider.example/", strings.Repeat("q", maxDumpBody))
	if _, body := answer(t, dumper, r); len(body) != maxDumpBody+7 {
		t.Errorf("the client read %d bytes", len(body))
	}
	dumper.Close()
	bodies := map[string]int{"request": maxDumpBody, "response": maxDumpBody + len("\n[7 more bytes not kept]\n")}
	for extension, want := range bodies {
		_, body, _ := strings.Cut(dumps(t, dir, extension)[0], "\n\n")
		if len(body) != want || strings.HasSuffix(body, "\n[7 more bytes not kept]\n") != (extension == "response") {
			t.Errorf("%s: %d bytes, want %d, with the end %q", extension, len(body), want, body[len(body)-30:])
		}
	}
}

// The memory of all dumps together is bounded. At the limit, a body keeps its beginning, not pieces.
func TestDumpBudget(t *testing.T) {
	b := &budget{left: 5}
	first, second := tap{budget: b}, tap{budget: b}
	first.note([]byte("abc"), nil)
	second.note([]byte("defg"), nil)
	b.release(len(first.take().bytes))
	second.note([]byte("hij"), nil)
	first.note([]byte("too late"), nil)
	if got := second.take(); string(got.bytes) != "de" || got.cut != 5 {
		t.Errorf("got %q and %d more", got.bytes, got.cut)
	}
	if b.left != 3 {
		t.Errorf("%d bytes left, want 3", b.left)
	}
}

// TestFault116DumpNeverWaits has a disk that fails and a log that hangs: requests go on, and the drops are logged once
// the log works again.
func TestFault116DumpNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		sink := &logSink{gate: make(chan struct{})}
		dumper := Dump(respond("ok"), filepath.Join(file, "dir"), MostHeld, slog.Make(sink))
		for range 10 * dumpQueue {
			answer(t, dumper, sent(t))
			synctest.Wait() // The writer has taken the first dump, and hangs in the log.
		}
		close(sink.gate)
		synctest.Wait()
		answer(t, dumper, sent(t)) // Within a minute of the last entry: no new entry.
		synctest.Wait()
		if got := sink.dropped(t); !slices.Equal(got, []int64{1}) {
			t.Errorf("entries about %v dropped dumps, want one about the first", got)
		}
		<-time.After(time.Minute)
		answer(t, dumper, sent(t))
		synctest.Wait()
		if got := sink.dropped(t); !slices.Equal(got, []int64{1, 10*dumpQueue + 1}) {
			t.Errorf("entries about %v dropped dumps", got)
		}
		answer(t, dumper, sent(t))
		dumper.Close()
		if got := sink.dropped(t); !slices.Equal(got, []int64{1, 10*dumpQueue + 1, 1}) {
			t.Errorf("entries about %v dropped dumps, want the last by Close", got)
		}
		if dumper.budget.left != MostHeld {
			t.Errorf("%d bytes are still held", MostHeld-dumper.budget.left)
		}
	})
}

// An answer that comes early ends the dump while the request is still being sent.
func TestDumpOfAnEarlyAnswer(t *testing.T) {
	server := rawserver.New(t, func(c *rawserver.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 4096))
		c.Write("HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
		c.Hang()
	})
	dir := t.TempDir()
	dumper := Dump(transport(t), dir, MostHeld, slog.Make())
	r := request(t, http.MethodPost, server.URL(), "")
	body := &upload{closed: make(chan struct{})}
	r.Body, r.ContentLength = body, -1
	answer(t, dumper, r)
	<-body.closed
	dumper.Close()
	if got := dumps(t, dir, "response"); len(got) != 1 || !strings.HasSuffix(got[0], "\n\ntoo much") {
		t.Errorf("responses %q", got)
	}
}

func TestDumpsOfManyAtOnce(t *testing.T) {
	dir, sink := t.TempDir(), &logSink{}
	dumper := Dump(respond("ok"), dir, MostHeld, slog.Make(sink))
	var requests sync.WaitGroup
	for n := range dumpQueue {
		requests.Go(func() { answer(t, dumper, request(t, http.MethodPost, "http://provider.example/", fmt.Sprint("n", n))) })
	}
	requests.Wait()
	dumper.Close()
	got := dumps(t, dir, "request")
	if len(got) != dumpQueue || sink.dropped(t) != nil {
		t.Errorf("%d dumps, %v dropped, want %d", len(got), sink.dropped(t), dumpQueue)
	}
	all := strings.Join(got, "\n")
	for n := range dumpQueue {
		if !strings.Contains(all, fmt.Sprint("n", n)) {
			t.Errorf("request %d has no dump", n)
		}
	}
}
