package observe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/upstream"
)

// keep returns a Keeper that is closed at the end of the test.
func keep(t *testing.T, next http.RoundTripper, dir string, sink *logSink) *Keeper {
	t.Helper()
	keeper, err := Keep(next, dir, time.Hour, MostHeld, slog.Make(sink))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keeper.Close)
	return keeper
}

// intercepted returns the request of an interception whose upstream body differs from the client's.
func intercepted(t *testing.T, clientBody string) (*http.Request, uuid.UUID) {
	t.Helper()
	r, id := sent(t), uuid.Must(uuid.NewV7())
	header := http.Header{"User-Agent": {"client/1"}, "X-Api-Key": {canary}, "X-Odd": {"a\xff\xfeb"}}
	return tell(r, &Interception{ID: id, Round: 1, Format: "messages", Header: header, Body: []byte(clientBody)}), id
}

// checkKept checks the file of an exchange and returns the exchange, which must be whole.
func checkKept(t *testing.T, dir string, id uuid.UUID) *kept.Exchange {
	t.Helper()
	exchange, err := kept.ReadFile(dir, id, 1)
	if err != nil {
		t.Fatal(err)
	}
	if exchange.End == nil {
		t.Fatalf("%v has no end", id)
	}
	finished, until := kept.Path(dir, id, 1)
	info, err := os.Stat(finished)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(until); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished file: %v", err)
	}
	return exchange
}

func keptFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		files = append(files, entry.Name())
	}
	return files
}

// checkHeld checks that a closed keeper holds no memory.
func checkHeld(t *testing.T, keeper *Keeper) {
	t.Helper()
	if held, keeping := MostHeld-keeper.budget.left, keeper.keeping.Load(); held != 0 || keeping != 0 {
		t.Errorf("%d bytes of %d exchanges are still held", held, keeping)
	}
}

func TestKeep(t *testing.T) {
	dir, sink := filepath.Join(t.TempDir(), "a", "b"), &logSink{}
	keeper := keep(t, respond("data: x\r\n\r\n"), dir, sink)
	r, id := intercepted(t, `{"client's": true}`)
	began := time.Now().UTC()
	resp, body := answer(t, keeper, r)
	if body != "data: x\r\n\r\n" || resp.StatusCode != 200 {
		t.Errorf("body %q", body)
	}
	answer(t, keeper, sent(t)) // A request of no interception.
	keeper.Close()
	keeper.Close()

	got := checkKept(t, dir, id)
	head := kept.Head{
		Version: 1, Interception: id, Round: 1, Format: "messages", At: got.Head.At, RequestBytes: 18,
		Header: http.Header{"User-Agent": {"client/1"}, "X-Api-Key": {redacted}, "X-Odd": {"a\uFFFDb"}},
	}
	if !reflect.DeepEqual(got.Head, head) || got.Head.At.Before(began) {
		t.Errorf("head %+v", got.Head)
	}
	if string(got.Request) != `{"client's": true}` || string(got.Response) != "data: x\r\n\r\n" {
		t.Errorf("request %q, response %q", got.Request, got.Response)
	}
	if got.Answer.Status != 200 || !reflect.DeepEqual(got.Answer.Header, http.Header{"Request-Id": {"r"}}) || got.Answer.At.Before(got.Head.At) {
		t.Errorf("answer %+v", got.Answer)
	}
	if end := (kept.End{At: got.End.At, ResponseBytes: 11, Ending: kept.Whole}); *got.End != end || end.At.Before(got.Answer.At) {
		t.Errorf("end %+v", got.End)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode() != os.ModeDir|0o700 {
		t.Errorf("directory: %v, %v", info, err)
	}
	if files := keptFiles(t, dir); len(files) != 1 {
		t.Errorf("kept %v", files)
	}
	checkHeld(t, keeper)

	r, id = intercepted(t, "{}")
	answer(t, keeper, r)
	if _, err := kept.ReadFile(dir, id, 1); !errors.Is(err, os.ErrNotExist) || sink.dropped(t) != nil {
		t.Errorf("after Close: %v", err)
	}
}

// The keys of providers and clients do not get into the files, except within bodies.
func TestKeepRedacts(t *testing.T) {
	dir := t.TempDir()
	keeper := keep(t, roundTripperFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 401, Body: http.NoBody, Header: http.Header{"Set-Cookie": {canary, canary}, "Retry-After": {"1"}}}, nil
	}), dir, &logSink{})
	r, id := intercepted(t, "{}")
	resp, _ := answer(t, keeper, r)
	if resp.Body != http.NoBody {
		t.Error("there is a body where there was none")
	}
	keeper.Close()
	got := checkKept(t, dir, id)
	if text := fmt.Sprint(got.Head, got.Answer); strings.Contains(text, canary) || strings.Count(text, redacted) != 3 {
		t.Errorf("kept %s", text)
	}
	if got.End.Ending != kept.Whole || got.Answer.Header.Get("Retry-After") != "1" {
		t.Errorf("%+v, %+v", got.Answer, got.End)
	}
}

// TestKeepEndings has an exchange end in every way, below a guard as in a bridge.
func TestKeepEndings(t *testing.T) {
	failure := errors.New("connection reset by " + strings.Repeat("x", 1000))
	body := func(r io.Reader) http.RoundTripper {
		return roundTripperFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(r)}, nil
		})
	}
	fails := func(err error) http.RoundTripper {
		return roundTripperFunc(func(*http.Request) (*http.Response, error) { return nil, err })
	}
	waits := roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		pipe, w := io.Pipe()
		context.AfterFunc(r.Context(), func() { _ = w.CloseWithError(context.Cause(r.Context())) })
		go func() { _, _ = w.Write([]byte("half")) }()
		return &http.Response{StatusCode: 200, Body: pipe}, nil
	})
	unanswered := roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, errors.New("use of closed network connection")
	})
	shutdown := errors.New("gateway is shutting down")
	readAll := func(resp *http.Response) { _, _ = io.Copy(io.Discard, resp.Body) }
	readHalf := func(resp *http.Response) { _, _ = io.ReadFull(resp.Body, make([]byte, 4)) }
	short := func(err error) string { return upstream.Failure(err).Cause.Error() }
	for name, test := range map[string]struct {
		next     http.RoundTripper
		cancel   error // Cancels the request after a second.
		read     func(*http.Response)
		response string
		want     kept.End
	}{
		"whole":                   {next: body(strings.NewReader("half")), read: readAll, response: "half", want: kept.End{Ending: kept.Whole}},
		"broken":                  {next: body(failingBody{strings.NewReader("half"), failure}), read: readAll, response: "half", want: kept.End{Ending: kept.Broken, Failure: short(failure), FailureStatus: 502}},
		"closed early":            {next: body(strings.NewReader("half of it")), read: readHalf, response: "half", want: kept.End{Ending: kept.Left}},
		"not read":                {next: body(strings.NewReader("half")), read: func(*http.Response) {}, want: kept.End{Ending: kept.Left}},
		"silent":                  {next: waits, read: readAll, response: "half", want: kept.End{Ending: kept.Broken, Failure: upstream.ErrIdle.Error(), FailureStatus: 504}},
		"left by the client":      {next: waits, cancel: context.Canceled, read: readAll, response: "half", want: kept.End{Ending: kept.Broken, Cancelled: kept.CancelledByClient, Failure: "context canceled", FailureStatus: 502}},
		"given up by the gateway": {next: waits, cancel: shutdown, read: readAll, response: "half", want: kept.End{Ending: kept.Broken, Cancelled: kept.CancelledByGateway, Failure: shutdown.Error(), FailureStatus: 502}},
		"no answer":               {next: fails(failure), want: kept.End{Ending: kept.Broken, Failure: short(failure), FailureStatus: 502}},
		"no answer in time":       {next: fails(os.ErrDeadlineExceeded), want: kept.End{Ending: kept.Broken, Failure: "i/o timeout", FailureStatus: 504}},
		"left before the answer":  {next: unanswered, cancel: context.Canceled, want: kept.End{Ending: kept.Broken, Cancelled: kept.CancelledByClient, Failure: "context canceled: use of closed network connection", FailureStatus: 502}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				keeper := keep(t, test.next, dir, &logSink{})
				r, id := intercepted(t, "{}")
				ctx, cancel := context.WithCancelCause(r.Context())
				if test.cancel != nil {
					time.AfterFunc(time.Second, func() { cancel(test.cancel) })
				}
				resp, err := upstream.Idle(upstream.Guard(keeper), time.Minute).RoundTrip(r.WithContext(ctx))
				if (err == nil) != (test.read != nil) {
					t.Fatalf("got %v", err)
				}
				if err == nil {
					test.read(resp)
					if err := resp.Body.Close(); err != nil {
						t.Error(err)
					}
				}
				keeper.Close()
				got := checkKept(t, dir, id)
				test.want.At, test.want.ResponseBytes = got.End.At, int64(len(test.response))
				if *got.End != test.want || string(got.Response) != test.response || string(got.Request) != "{}" || (got.Answer == nil) != (resp == nil) {
					t.Errorf("%q, %+v, want %+v", got.Response, *got.End, test.want)
				}
				checkHeld(t, keeper)
				cancel(nil)
			})
		})
	}
}

// TestKeepWhileItStreams has an exchange go on: its request and all but the last piece are on disk, and only the rest
// is in memory.
func TestKeepWhileItStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		pipe, provider := io.Pipe()
		keeper := keep(t, roundTripperFunc(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: pipe}, nil
		}), dir, &logSink{})
		large := strings.Repeat("{}", 1<<20)
		r, id := intercepted(t, large)
		resp, err := keeper.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		relay := func(text string) {
			t.Helper()
			go func() { _, _ = provider.Write([]byte(text)) }()
			if _, err := io.ReadFull(resp.Body, make([]byte, len(text))); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // The writer has written.
		}
		check := func(response string, held int) {
			t.Helper()
			got, err := kept.ReadFile(dir, id, 1)
			if err != nil || got.End != nil || string(got.Request) != large || string(got.Response) != response {
				t.Errorf("%d and %d bytes, %v", len(got.Request), len(got.Response), err)
			}
			if n := MostHeld - keeper.budget.left; n < held || n > held+1000 { // The answer's header is held too.
				t.Errorf("%d bytes are held, want %d", n, held)
			}
		}
		relay("a")
		check("", 1)
		first := "a" + strings.Repeat("b", keepPiece)
		relay(first[1:])
		check(first, 0)
		relay("c")
		check(first, 1)
		_ = provider.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		synctest.Wait()
		if got := checkKept(t, dir, id); string(got.Response) != first+"c" { // Before the body is closed.
			t.Errorf("%d bytes of response", len(got.Response))
		}
		_ = resp.Body.Close()
	})
}

// TestKeepWhole keeps bodies that are larger than a dump's limit.
func TestKeepWhole(t *testing.T) {
	dir := t.TempDir()
	large := strings.Repeat("data: 0123456789\n\n", (maxDumpBody+7)/18)
	keeper := keep(t, respond(large), dir, &logSink{})
	r, id := intercepted(t, large)
	answer(t, keeper, r)
	keeper.Close()
	got := checkKept(t, dir, id)
	if string(got.Request) != large || string(got.Response) != large {
		t.Errorf("%d and %d bytes, want %d", len(got.Request), len(got.Response), len(large))
	}
	checkHeld(t, keeper)
}

// TestKeepIsBounded uses up the memory at each stage: exchanges are dropped and their files removed; requests go on.
func TestKeepIsBounded(t *testing.T) {
	for name, left := range map[string]int{"no request": 10, "no answer": 1500, "no second piece": 3000 + keepPiece} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, sink := t.TempDir(), &logSink{}
				keeper := keep(t, respond(strings.Repeat("r", 5*keepPiece)), dir, sink)
				keeper.budget.left = left
				r, id := intercepted(t, strings.Repeat("q", 1100))
				resp, err := keeper.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if name == "no answer" {
					keeper.budget.left = 20
				}
				if n, err := io.ReadFull(resp.Body, make([]byte, 5*keepPiece)); err != nil {
					t.Errorf("%d bytes, %v", n, err)
				}
				_ = resp.Body.Close()
				keeper.Close()
				if files := keptFiles(t, dir); len(files) != 0 {
					t.Errorf("kept %v", files)
				}
				if got := sink.dropped(t); !slices.Equal(got, []int64{1}) {
					t.Errorf("entries about %v", got)
				}
				if _, err := kept.ReadFile(dir, id, 1); !errors.Is(err, os.ErrNotExist) {
					t.Error(err)
				}
				if name != "no answer" && keeper.budget.left != left || keeper.keeping.Load() != 0 {
					t.Errorf("%d bytes left of %d", keeper.budget.left, left)
				}
			})
		})
	}
}

// TestFault116KeepNeverWaits has a disk that fails and a log that hangs: requests go on, even more of them than the
// queue has room for, and the drops are logged once the log works again.
func TestFault116KeepNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "dir")
		sink := &logSink{gate: make(chan struct{})}
		keeper := keep(t, respond("ok"), dir, sink)
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		const requests = maxKeeping + 100
		for n := range requests {
			r, _ := intercepted(t, "{}")
			answer(t, keeper, r)
			if n == 0 {
				synctest.Wait() // The writer has taken it, and hangs in the log.
			}
		}
		close(sink.gate)
		synctest.Wait()
		if got := sink.dropped(t); !slices.Equal(got, []int64{1}) {
			t.Errorf("entries about %v, want one about the first", got)
		}
		<-time.After(time.Minute)
		r, _ := intercepted(t, "{}")
		answer(t, keeper, r)
		synctest.Wait()
		if got := sink.dropped(t); !slices.Equal(got, []int64{1, requests}) {
			t.Errorf("entries about %v", got)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		r, id := intercepted(t, "{}")
		answer(t, keeper, r)
		keeper.Close()
		checkKept(t, dir, id)
		checkHeld(t, keeper)
	})
}

// When the disk fails in the middle of an exchange, its file is removed.
func TestKeepOnADiskThatFails(t *testing.T) {
	for name, fail := range map[string]func(t *testing.T, finished, until string){
		"no file": func(t *testing.T, _, until string) {
			if err := os.Remove(until); err != nil {
				t.Error(err)
			}
		},
		"no room for its name": func(t *testing.T, finished, _ string) {
			if err := os.Mkdir(finished, 0o700); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(filepath.Join(finished, "x"), nil, 0o600); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, sink := t.TempDir(), &logSink{}
				keeper := keep(t, respond("ok"), dir, sink)
				r, id := intercepted(t, "{}")
				resp, err := keeper.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				finished, until := kept.Path(dir, id, 1)
				fail(t, finished, until)
				if body, err := readAll(resp); err != nil || body != "ok" {
					t.Errorf("%q, %v", body, err)
				}
				keeper.Close()
				if _, err := os.Stat(until); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("it is still there: %v", err)
				}
				if got := sink.dropped(t); !slices.Equal(got, []int64{1}) {
					t.Errorf("entries about %v", got)
				}
				checkHeld(t, keeper)
			})
		})
	}
}

func TestKeepOfManyAtOnce(t *testing.T) {
	const requests = 200
	dir, sink := t.TempDir(), &logSink{}
	keeper := keep(t, respond(strings.Repeat("ok", keepPiece)), dir, sink)
	ids := make([]uuid.UUID, requests)
	var running sync.WaitGroup
	for n := range requests {
		r, id := intercepted(t, strings.Repeat(fmt.Sprint("n", n), 1000))
		ids[n] = id
		running.Go(func() { answer(t, keeper, r) })
	}
	running.Wait()
	keeper.Close()
	for n, id := range ids {
		got := checkKept(t, dir, id)
		if !bytes.Equal(got.Request, []byte(strings.Repeat(fmt.Sprint("n", n), 1000))) || len(got.Response) != 2*keepPiece {
			t.Errorf("%d: %d and %d bytes", n, len(got.Request), len(got.Response))
		}
	}
	if got := sink.dropped(t); got != nil {
		t.Errorf("dropped %v", got)
	}
	checkHeld(t, keeper)
}

// Of two exchanges of one round, for example with two keys, the last one is kept: its answer is the client's.
func TestKeepTheLastOfARound(t *testing.T) {
	dir := t.TempDir()
	body := "first"
	keeper := keep(t, roundTripperFunc(func(r *http.Request) (*http.Response, error) { return respond(body).RoundTrip(r) }), dir, &logSink{})
	r, id := intercepted(t, "{}")
	answer(t, keeper, r)
	body = "last"
	again := sent(t)
	answer(t, keeper, again.WithContext(r.Context()))
	keeper.Close()
	if got := checkKept(t, dir, id); string(got.Response) != "last" {
		t.Errorf("kept %q", got.Response)
	}
}

// TestKeepRemovesWhatIsOld checks that files are removed at their age.
func TestKeepRemovesWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := func(age time.Duration) string {
			finished, _ := kept.Path(dir, uuid.Must(uuid.NewV7()), 0)
			if err := os.WriteFile(finished, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(-age)
			if err := os.Chtimes(finished, at, at); err != nil {
				t.Fatal(err)
			}
			return filepath.Base(finished)
		}
		file(time.Hour + time.Second)
		young, younger := file(30*time.Minute), file(0)
		keeper := keep(t, respond("ok"), dir, &logSink{})
		synctest.Wait()
		if files := keptFiles(t, dir); len(files) != 2 {
			t.Errorf("at the start: %v", files)
		}
		<-time.After(30*time.Minute + sweepEvery(time.Hour))
		synctest.Wait()
		if files := keptFiles(t, dir); !slices.Equal(files, []string{younger}) {
			t.Errorf("half an hour later: %v, %s should be gone", files, young)
		}
		keeper.Close()
	})
}

func TestKeepSaysWhereItCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Keep(respond("ok"), file, time.Hour, MostHeld, slog.Make()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// TestKeepAndDump uses a Keeper and a Dumper together, as a gateway can.
func TestKeepAndDump(t *testing.T) {
	dir := t.TempDir()
	dumper := Dump(respond("data: x\r\n\r\n"), dir, MostHeld, slog.Make())
	keeper := keep(t, dumper, dir, &logSink{})
	r, id := intercepted(t, "{}")
	answer(t, keeper, r)
	keeper.Close()
	dumper.Close()
	wantDump(t, dir, requestDump, "HTTP/1.1 200 OK\nRequest-Id: r\n\ndata: x\r\n\r\n")
	if got := checkKept(t, dir, id); string(got.Response) != "data: x\r\n\r\n" {
		t.Errorf("kept %q", got.Response)
	}
}
