package aibridged_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/rawserver"
	"github.com/coder/aibridged/internal/testkit"
)

// TestFault006BrokenStream is fault 6, with 10, 11 and 12 in the middle of a stream: however an upstream's stream
// breaks off, the client's stream breaks off after the same bytes, the gateway adds none, and what was counted so far
// is recorded.
func TestFault006BrokenStream(t *testing.T) {
	t.Parallel()
	const length = "99999"
	for name, test := range map[string]struct {
		header []string // The framing of the answer.
		fault  func(c *rawserver.Conn)
	}{
		"reset":                  {[]string{"Transfer-Encoding", "chunked"}, (*rawserver.Conn).Reset},
		"closed between chunks":  {[]string{"Transfer-Encoding", "chunked"}, (*rawserver.Conn).Close},
		"closed within a chunk":  {[]string{"Transfer-Encoding", "chunked"}, func(c *rawserver.Conn) { c.Write("ff\r\n"); c.Close() }},
		"clean end":              {[]string{"Transfer-Encoding", "chunked"}, func(c *rawserver.Conn) { c.Write("0\r\n\r\n") }},
		"garbage":                {[]string{"Transfer-Encoding", "chunked"}, func(c *rawserver.Conn) { c.Write("garbage\r\n") }},
		"short of its length":    {[]string{"Content-Length", length}, (*rawserver.Conn).Close},
		"reset within a length":  {[]string{"Content-Length", length}, (*rawserver.Conn).Reset},
		"closed without framing": {[]string{"Connection", "close"}, (*rawserver.Conn).Close},
		"reset without framing":  {[]string{"Connection", "close"}, (*rawserver.Conn).Reset},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{})
			s, up := newFaulty(t, testkit.GatewayOptions{}, func(c *rawserver.Conn, q question) {
				text := strings.Join(q.format.events[:2], "")
				if test.header[0] == "Transfer-Encoding" {
					text = chunk(text)
				}
				c.Write(q.head(test.header...) + text)
				<-arrived // Once the client has the bytes, a reset cannot lose them.
				test.fault(c)
			})
			for _, q := range streams() {
				s.checkBreak(t, q, func() {
					select {
					case arrived <- struct{}{}:
					case <-time.After(testkit.Patience):
						t.Errorf("%v: the upstream was not asked", q)
					}
				})
			}
			s.serves(t)
			up.checkRequests(t, len(streams()))
		})
	}
}

// checkBreak asks for a stream that breaks off after two events, and causes the fault when these have arrived.
func (s *site) checkBreak(t *testing.T, q question, fault func()) {
	t.Helper()
	r := s.request(t, q, faulty)
	response, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	want := broken(q, 2)
	got := make([]byte, len(want.body))
	if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != want.body {
		t.Errorf("%v: got %q, %v, want %q", q, got, err, want.body)
	}
	fault()
	want.body = ""
	s.checkAnswer(t, r, response, want)
	s.checkRecords(t, r, want)
}

// TestFault007SilentUpstream is fault 7: an upstream falls silent in the middle, with its connection open. The gateway
// cancels at the idle limit, and the stream ends as in fault 6. A JSON answer that stops is a 504.
func TestFault007SilentUpstream(t *testing.T) {
	t.Parallel()
	limits := aibridge.Limits{Idle: 100 * time.Millisecond}
	s, up := newFaulty(t, testkit.GatewayOptions{Limits: limits}, func(c *rawserver.Conn, q question) {
		if q.stream {
			c.Write(q.chunkedHead() + chunk(strings.Join(q.format.events[:2], "")))
		} else {
			c.Write(q.chunkedHead() + chunk(q.answer()[:20]))
		}
		_, _ = c.Read(make([]byte, 1)) // Until the gateway hangs up.
	})
	for _, q := range streams() {
		s.checkBreak(t, q, func() {})
		s.check(t, s.request(t, question{q.format, false}, faulty), failed(504, textTimeout, aibridge.ErrorTimeout))
	}
	s.serves(t)
	up.checkRequests(t, len(questions()))
}

// newMemoryServer returns a gateway without ports, whose upstream is a function, so that it can run in synctest
// bubbles.
func newMemoryServer(t *testing.T, dialer aibridged.Dialer, upstream http.RoundTripper) *aibridged.Server {
	t.Helper()
	providers := providersOver(t, "http://upstream.invalid", upstream)
	pool, err := aibridged.NewCachedBridgePool(aibridged.PoolOptions{}, providers, slog.Logger{}, nil, noTracer())
	if err != nil {
		t.Fatal(err)
	}
	return newServer(t, pool, dialer)
}

// pausing is a body that pauses before each of its pieces.
type pausing struct {
	pieces []string
	pause  time.Duration
}

func (b *pausing) Read(p []byte) (int, error) {
	if len(b.pieces) == 0 {
		return 0, io.EOF
	}
	time.Sleep(b.pause)
	n := copy(p, b.pieces[0])
	b.pieces = b.pieces[1:]
	return n, nil
}

// TestFault009SlowDrip is fault 9: a stream of one byte every 59 seconds goes on for hours, and each byte reaches the
// client when it comes. The test runs on the clock of a synctest bubble.
func TestFault009SlowDrip(t *testing.T) {
	for _, q := range streams() {
		synctest.Test(t, func(t *testing.T) {
			const pause, held = 59 * time.Second, 50 * time.Millisecond
			control := &testkit.ControlPlane{}
			server := newMemoryServer(t, controlplane.InProcess(control), upstreamFunc(func(r *http.Request) (*http.Response, error) {
				return answerOf(r, q.contentType(), io.NopCloser(&pausing{strings.Split(q.answer(), ""), pause})), nil
			}))
			response := answerInProcess(t, server, q)
			defer response.Body.Close()
			began := time.Now()
			want := q.answer()
			for i, piece := range strings.Split(want, "") {
				got := make([]byte, len(piece))
				if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != piece {
					t.Fatalf("byte %d: got %q, %v, want %q", i, got, err, piece)
				}
				took, due := time.Since(began), time.Duration(i+1)*pause
				if mayBeLast := strings.Contains(want[:i], `"finish_reason":"`); mayBeLast && took > due && took-due <= held {
					continue // The gateway holds it for a moment: the records come first.
				}
				if took != due {
					t.Fatalf("byte %d came after %s, want %s", i, took, due)
				}
			}
			if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
				t.Errorf("at the end: %q, %v", rest, err)
			}
			records := control.WaitEnds(t, 1)
			testkit.CheckPairs(t, records)
			if end := records[len(records)-1].GetInterceptionEnded(); end.ErrorType != nil || usageOf(records) != "12/2" {
				t.Errorf("ended as %v with usage %s", end, usageOf(records))
			}
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// answerInProcess sends a question to a gateway that has no port.
func answerInProcess(t *testing.T, server *aibridged.Server, q question) *http.Response {
	t.Helper()
	name, path, _ := strings.Cut(strings.TrimPrefix(q.format.path, "/"), "/")
	transport, err := aibridged.NewTransportFactory(server).TransportFor(name, aibridge.SourceAgents)
	if err != nil {
		t.Fatal(err)
	}
	ctx := aibridge.WithDelegatedAPIKeyID(t.Context(), testkit.APIKeyID)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gateway/"+path, strings.NewReader(q.body(fine)))
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// largeLine is a question whose streamed answer has a line of n bytes in its middle.
func largeLine(f format, n int) question {
	large := "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"" + strings.Repeat("é", n/2) + "\"}}\n\n"
	f.events = slices.Insert(slices.Clone(f.events), 1, large)
	return question{f, true}
}

// TestFault015LargeLine is fault 15: lines of any size are passed on whole, and what comes after them is recorded.
// Where an event is too large to be understood, the record says that it was not read.
func TestFault015LargeLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		q      question
		unread bool
	}{
		{"1 MB", largeLine(messagesFormat(), 1<<20), false},
		{"20 MB", largeLine(messagesFormat(), 20<<20), false},
		{"20 MB, of another format", largeLine(responsesFormat(), 20<<20), true},
		{"40 MB", largeLine(messagesFormat(), 40<<20), true},
	} {
		t.Run(test.name, func(t *testing.T) { // One after another: each needs several times its size in memory.
			up := rawserver.New(t, func(c *rawserver.Conn) {
				if r, _ := c.ReadRequest(); r != nil {
					c.Write(test.q.response())
				}
			})
			s := newSite(t, up.URL(), testkit.GatewayOptions{})
			r := s.request(t, test.q, fine)
			s.check(t, r, answered(test.q))
			for _, record := range s.interception(t, r.UserAgent()) {
				if usage := record.GetTokenUsage(); usage != nil && (usage.GetMetadata()["unread"] != nil) != test.unread {
					t.Errorf("the metadata of the usage are %v", usage.GetMetadata())
				}
			}
		})
	}
}

// TestFault016EveryCut is fault 16, with fault 13: at every byte where a stream can be cut in two, also within an
// event, a line end or a character, the client gets the same bytes and the record is the same.
func TestFault016EveryCut(t *testing.T) {
	t.Parallel()
	withheld := chatFormat()
	withheld.ask = strings.Replace(withheld.ask, `"stream_options":{"include_usage":true},`, "", 1)
	odd := messagesFormat()
	odd.events = []string{
		"\ufeff: a comment\r\n\r", ":\n\n", strings.ReplaceAll(odd.events[0], "\n", "\r\n"), "\r\n\n",
		"no colon\r\rdata: no JSON\ndata: ☃\r\n\n", strings.ReplaceAll(odd.events[2], "\n", "\r"),
		"event: message_delta\rdata: {\"type\":\"message_delta\",\ndata:\"usage\":{\"output_tokens\":2}}\r\n\r\n",
		strings.TrimRight(odd.events[5], "\n"),
	}
	for name, q := range map[string]question{
		"messages": {messagesFormat(), true}, "chat": {chatFormat(), true}, "responses": {responsesFormat(), true},
		"chat without its usage": {withheld, true}, "odd": {odd, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream, body := []byte(q.answer()), q.body(fine)
			cut := 0
			control := &testkit.ControlPlane{}
			server := newMemoryServer(t, controlplane.InProcess(control), upstreamFunc(func(r *http.Request) (*http.Response, error) {
				pieces := io.MultiReader(bytes.NewReader(stream[:cut]), bytes.NewReader(stream[cut:]))
				return answerOf(r, q.contentType(), io.NopCloser(pieces)), nil
			}))
			want, wantRecords, seen := q.answer(), "", 0
			if name == "chat without its usage" {
				want = strings.Replace(want, q.format.events[3], "", 1)
			}
			for ; cut <= len(stream); cut++ {
				w := httptest.NewRecorder()
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, q.format.path, strings.NewReader(body))
				r.Header.Set("X-Api-Key", testkit.Token)
				server.ServeHTTP(w, r)
				if got := w.Body.String(); got != want {
					t.Fatalf("cut at %d: client got\n%q\nwant\n%q", cut, got, want)
				}
				records := control.WaitEnds(t, cut+1)
				testkit.CheckPairs(t, records[seen:])
				got := testkit.RenderRecords(t, records[seen:])
				seen = len(records)
				if cut == 0 {
					wantRecords = got
				}
				if got != wantRecords || usageOf(records[:seen]) == "" {
					t.Fatalf("cut at %d: recorded\n%s\nwant\n%s", cut, got, wantRecords)
				}
			}
			if !strings.Contains(wantRecords, `"input_tokens":"12"`) || strings.Contains(wantRecords, "error_type") {
				t.Errorf("recorded\n%s", wantRecords)
			}
		})
	}
}

// TestFault022DeepAnswer is fault 22 for answers: one that is nested so deeply that a parser could crash is passed on
// unchanged, and not read.
func TestFault022DeepAnswer(t *testing.T) {
	t.Parallel()
	for depth, f := range map[int]format{10_000: messagesFormat(), 1_000_000: chatFormat(), 6_000_000: responsesFormat()} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			deep := `{"type":"x","object":"x","choices":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}"
			blocking, streamed := question{f, false}, question{f, true}
			blocking.format.json = deep
			streamed.format.events = slices.Insert(slices.Clone(f.events), 1, "data: "+deep+"\n\n")
			s := newSite(t, "http://upstream.invalid", testkit.GatewayOptions{
				Provider: providersOver(t, "http://upstream.invalid", upstreamFunc(func(r *http.Request) (*http.Response, error) {
					body, _ := io.ReadAll(r.Body)
					q := blocking
					if questionOf(r, body).stream {
						q = streamed
					}
					return answerOf(r, q.contentType(), io.NopCloser(strings.NewReader(q.answer()))), nil
				})),
			})
			s.check(t, s.request(t, streamed, fine), answered(streamed))
			w := answered(blocking)
			w.ended, w.usage = aibridge.ErrorUnknown, ""
			s.check(t, s.request(t, blocking, fine), w)
		})
	}
}
