package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestRequests checks that requests have about the right size, and are JSON with the fields that an answer depends on.
func TestRequests(t *testing.T) {
	for _, f := range formats() {
		for _, size := range []int{small, large} {
			for _, stream := range []bool{false, true} {
				body := f.request(size, stream)
				if off := float64(len(body)) / float64(size); off < 0.95 || off > 1.05 {
					t.Errorf("%s: %d bytes instead of %d", f.provider, len(body), size)
				}
				var parsed struct {
					Model    string
					Messages []any
					Stream   bool
				}
				if err := json.Unmarshal(body, &parsed); err != nil || parsed.Stream != stream || parsed.Model == "" || len(parsed.Messages) == 0 {
					t.Errorf("%s, %d bytes: %+v, %v", f.provider, size, parsed, err)
				}
			}
		}
	}
}

// TestAnswers checks that answers are HTTP with the length and the end that the load expects, and that each event is
// JSON.
func TestAnswers(t *testing.T) {
	for _, f := range formats() {
		for _, s := range []shape{{}, {deltas: 7}, {deltas: 7, pace: time.Second, stamped: true}} {
			a := f.answer(s)
			pieces := bytes.Join(a.pieces, nil)
			if s.stamped {
				pieces = stamp(pieces, time.Unix(0, 1234567890123456789))
			}
			response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(pieces)), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || len(body) != a.length || !bytes.HasSuffix(body, a.ending) {
				t.Errorf("%s %v: %d bytes instead of %d, %v", f.provider, s, len(body), a.length, err)
			}
			if s.deltas == 0 {
				if !json.Valid(body) || len(a.pieces) != 1 {
					t.Errorf("%s: %s", f.provider, body)
				}
				continue
			}
			if events := bytes.Count(body, []byte("\n\n")); events != len(f.opening)+s.deltas+len(f.closing) || len(a.pieces) != s.deltas+2 {
				t.Errorf("%s: %d events in %d pieces", f.provider, events, len(a.pieces))
			}
			for line := range strings.Lines(string(body)) {
				if data, ok := strings.CutPrefix(line, "data: "); ok && data != "[DONE]\n" && !json.Valid([]byte(data)) {
					t.Errorf("%s: %s", f.provider, data)
				}
			}
			at, err := stampOf(body)
			if s.stamped && (err != nil || at.UnixNano() != 1234567890123456789) || !s.stamped && err == nil {
				t.Errorf("%s: sent at %v, %v", f.provider, at, err)
			}
		}
	}
}

func TestShape(t *testing.T) {
	want := shape{deltas: 3, pace: time.Millisecond, stamped: true}
	if got, err := parseShape(want.String()); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseShape("three"); err == nil {
		t.Error("anything is a shape")
	}
}

// servedBy returns a server for loads that runs handler.
func servedBy(t *testing.T, handler http.HandlerFunc) *server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return &server{name: "test", address: s.Listener.Addr().String(), token: "the-token", routed: true}
}

// TestLoadIsAnswered has the scripted upstream answer a load: the answers are timed and counted.
func TestLoadIsAnswered(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, ended := &scripted{answers: map[answerKey]*answer{}}, make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go u.serve(conn) // Ends with the connection.
		}
	}()
	defer func() { _ = listener.Close(); <-ended }()
	s := &server{name: "upstream", address: listener.Addr().String()}
	for _, sh := range []shape{{}, {deltas: 5}, {deltas: 5, pace: time.Millisecond, stamped: true}} {
		l := load{requests: 20, connections: 4, size: small, shape: sh}
		clients, err := l.warm(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		all, err := clients.send(t.Context(), l.requests)
		clients.close()
		if err != nil || len(all) != l.requests {
			t.Fatalf("%v: %d, %v", sh, len(all), err)
		}
		for _, took := range all {
			if took.first <= 0 || took.whole < took.first || took.whole < time.Duration(sh.deltas)*sh.pace || (took.last > 0) != sh.stamped {
				t.Errorf("%v: %+v", sh, took)
			}
		}
	}
	if got := s.answered.Load(); got != 3*(20+4) {
		t.Errorf("%d requests counted", got)
	}
}

// TestLoadFails has a server make each mistake that the load must report.
func TestLoadFails(t *testing.T) {
	stream := shape{deltas: 2}
	send := func(w http.ResponseWriter, s shape, change func([]byte) []byte) {
		response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(bytes.Join(messages().answer(s).pieces, nil))), nil)
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(response.Body)
		_, _ = w.Write(change(body))
	}
	for name, test := range map[string]struct {
		shape   shape
		handler http.HandlerFunc
		want    error
	}{
		"as it should be": {stream, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/anthropic/v1/messages" || r.Header.Get("X-Api-Key") != "the-token" {
				http.Error(w, "not what was to be sent", http.StatusForbidden)
				return
			}
			send(w, stream, func(b []byte) []byte { return b })
		}, nil},
		"an error": {shape{}, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }, errStatus},
		"a stream without its end": {stream, func(w http.ResponseWriter, _ *http.Request) {
			send(w, stream, func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte("event: "))] })
		}, errIncomplete},
		"another end": {stream, func(w http.ResponseWriter, _ *http.Request) {
			send(w, stream, func(b []byte) []byte { return append(b[:len(b)-3], "!\n\n"...) })
		}, errIncomplete},
		"one byte more in the middle": {shape{}, func(w http.ResponseWriter, _ *http.Request) {
			send(w, shape{}, func(b []byte) []byte { return append([]byte("{ "), b[1:]...) })
		}, errIncomplete},
		"an aborted answer": {stream, func(w http.ResponseWriter, _ *http.Request) {
			send(w, stream, func(b []byte) []byte { return b[:100] })
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, io.ErrUnexpectedEOF},
		"a closed connection": {shape{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			send(w, shape{}, func(b []byte) []byte { return b })
		}, errClosed},
	} {
		t.Run(name, func(t *testing.T) {
			l := load{requests: 3, connections: 1, size: small, shape: test.shape}
			clients, err := l.connect(servedBy(t, test.handler))
			if err != nil {
				t.Fatal(err)
			}
			defer clients.close()
			if _, err := clients.send(t.Context(), l.requests); !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// TestIdleStreamEnds has idle streams that end too early: that is an error.
func TestIdleStreamEnds(t *testing.T) {
	s := servedBy(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "data: all\n\n") })
	connection, err := load{size: small, shape: shape{deltas: 1}}.dial(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.conn.Close()
	begun := 0
	if err := connection.hold(func() { begun++ }); !errors.Is(err, io.ErrUnexpectedEOF) || begun != 1 {
		t.Errorf("%v, begun %d times", err, begun)
	}
}
