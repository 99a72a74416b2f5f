package upstream

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/aibridged/internal/rawserver"
)

// The parts of RFC 9113 that an upstream needs to misbehave.
const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameReset    = 0x3
	frameSettings = 0x4
	framePing     = 0x6
	frameGoAway   = 0x7
	frameMore     = 0x9 // CONTINUATION.

	flagEnd    = 0x1 // Of a stream; an acknowledgement in SETTINGS and PING.
	flagHeader = 0x4 // The end of the header.

	codeNone     = 0x0
	codeInternal = 0x2
	codeRefused  = 0x7

	settingWindow = "\x00\x04" // SETTINGS_INITIAL_WINDOW_SIZE, at most 2^31-1.
	settingFrame  = "\x00\x05" // SETTINGS_MAX_FRAME_SIZE, at least 2^14.

	status200 = "\x88" // HPACK's static table has ":status: 200" at 8.
)

func frame(kind, flags byte, stream uint32, payload string) string {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(head, stream)) + payload
}

func number(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// readFrame returns the next frame, without its payload.
func readFrame(r io.Reader) (kind, flags byte, stream uint32, err error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, 0, 0, err
	}
	length := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
	_, err = io.CopyN(io.Discard, r, length)
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), err
}

// http2Server plays bytes at the end of every request. It numbers the requests from 1.
type http2Server struct {
	*rawserver.Server
	requests    atomic.Int64
	connections atomic.Int64
}

func newHTTP2Server(t *testing.T, play func(c *rawserver.Conn, stream uint32, request int64)) *http2Server {
	t.Helper()
	s := &http2Server{}
	s.Server = rawserver.New(t, func(c *rawserver.Conn) {
		s.connections.Add(1)
		if _, err := io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
			return
		}
		c.Write(frame(frameSettings, 0, 0, ""))
		for {
			kind, flags, stream, err := readFrame(c)
			if err != nil {
				return
			}
			switch {
			case kind == frameSettings && flags&flagEnd == 0:
				c.Write(frame(frameSettings, flagEnd, 0, ""))
			case (kind == frameHeaders || kind == frameData) && flags&flagEnd != 0:
				play(c, stream, s.requests.Add(1))
			}
		}
	})
	return s
}

// http2 is the chain over HTTP/2 without TLS.
func http2(t *testing.T) http.RoundTripper {
	t.Helper()
	transport := newTransport(t, Limits{})
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	return Idle(Guard(transport), 0)
}

func ok(stream uint32) string {
	return frame(frameHeaders, flagHeader, stream, status200) + frame(frameData, flagEnd, stream, "ok")
}

// continued is an answer whose header has n continuations of 16 KB each.
func continued(stream uint32, n int) string {
	// A literal field without indexing. The bytes before its value are the value's length.
	field := "\x00\x01a\x7f\x81\x7e" + strings.Repeat("a", 127+1+126<<7)
	return frame(frameHeaders, 0, stream, status200+field) + strings.Repeat(frame(frameMore, 0, stream, field), n) +
		frame(frameMore, flagHeader, stream, "") + frame(frameData, flagEnd, stream, "ok")
}

// TestFault025HTTP2 has an upstream that fails one request. The next one must be served: on the same connection, or on
// a new one.
func TestFault025HTTP2(t *testing.T) {
	half := func(stream uint32) string {
		return frame(frameHeaders, flagHeader, stream, status200) + frame(frameData, 0, stream, "half")
	}
	goAway := func(last, code uint32) string { return frame(frameGoAway, 0, 0, number(last)+number(code)) }
	reset := func(stream, code uint32) string { return frame(frameReset, 0, stream, number(code)) }
	setting := func(id string, value uint32) string { return frame(frameSettings, 0, 0, id+number(value)) }

	cases := map[string]struct {
		play func(stream uint32) string
		hang bool // The upstream goes on after that; else it closes the connection.

		again bool   // It says that it did not process the request, which is sent once more.
		fails bool   // There is no answer.
		cut   string // What comes before the answer breaks. Empty: it does not.
	}{
		"refused stream": {
			play: func(s uint32) string { return reset(s, codeRefused) }, hang: true, again: true,
		},
		"reset": {
			play: func(s uint32) string { return reset(s, codeInternal) }, hang: true, fails: true,
		},
		"reset in the middle": {
			play: func(s uint32) string { return half(s) + reset(s, codeInternal) }, hang: true, cut: "half",
		},
		"reset without an error": {
			play: func(s uint32) string { return half(s) + reset(s, codeNone) }, hang: true, cut: "half",
		},
		"going away, below": {
			play: func(s uint32) string { return goAway(s, codeNone) + ok(s) },
		},
		"going away, above": {
			play: func(uint32) string { return goAway(0, codeNone) }, hang: true, again: true,
		},
		"going away, in the middle": {
			play: func(s uint32) string { return half(s) + goAway(s, codeInternal) }, cut: "half",
		},
		"closed": {
			play: func(uint32) string { return "" }, fails: true,
		},
		"closed in the middle": {
			play: half, cut: "half",
		},
		"hostile window": {
			play: func(uint32) string { return setting(settingWindow, 1<<31) }, fails: true,
		},
		"hostile frame size": {
			play: func(uint32) string { return setting(settingFrame, 1) }, fails: true,
		},
		"pings": {
			play: func(s uint32) string { return strings.Repeat(frame(framePing, 0, 0, "12345678"), 1000) + ok(s) },
			hang: true,
		},
		"not HTTP/2": {
			play: func(uint32) string { return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" }, fails: true,
		},
		"large header": {
			play: func(s uint32) string { return continued(s, 10) }, hang: true,
		},
		"huge header": {
			play: func(s uint32) string { return continued(s, 1000) }, fails: true,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			server := newHTTP2Server(t, func(conn *rawserver.Conn, stream uint32, request int64) {
				if request > 1 {
					conn.Write(ok(stream))
					return
				}
				conn.Write(c.play(stream))
				if !c.hang {
					conn.CloseWrite()
				}
			})
			next := http2(t)
			r := request(t, http.MethodPost, server.URL(), "prompt")
			r.Header.Set("Idempotency-Key", "client-1")
			switch {
			case c.fails:
				wantFailure(t, next, r, http.StatusBadGateway)
			case c.cut != "":
				wantCut(t, next, r, c.cut)
			default:
				answer(t, next, r)
			}
			want := int64(1)
			if c.again {
				want = 2
			}
			if got := server.requests.Load(); got != want {
				t.Errorf("the upstream saw the request %d times, want %d", got, want)
			}
			if _, body := answer(t, next, request(t, http.MethodPost, server.URL(), "{}")); body != "ok" {
				t.Errorf("the next request got %q", body)
			}
		})
	}
}

// wantCut sends r, whose answer must break after some bytes.
func wantCut(t *testing.T, next http.RoundTripper, r *http.Request, want string) {
	t.Helper()
	resp, err := next.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(resp)
	if err == nil || errors.Is(err, io.EOF) || got != want {
		t.Fatalf("read %q, %v, want %q and an error", got, err, want)
	}
	checkFailure(t, Failure(err), r.URL, http.StatusBadGateway)
}

// TestFault025OthersFinish resets one of two streams of a connection. The other one ends well.
func TestFault025OthersFinish(t *testing.T) {
	first := make(chan uint32, 1)
	server := newHTTP2Server(t, func(c *rawserver.Conn, stream uint32, request int64) {
		if request == 1 {
			c.Write(frame(frameHeaders, flagHeader, stream, status200))
			first <- stream
			return
		}
		c.Write(frame(frameReset, 0, stream, number(codeInternal)))
		c.Write(frame(frameData, flagEnd, <-first, "ok"))
	})
	next := http2(t)
	resp, err := next.RoundTrip(request(t, http.MethodPost, server.URL(), "{}"))
	if err != nil {
		t.Fatal(err)
	}
	wantFailure(t, next, request(t, http.MethodPost, server.URL(), "{}"), http.StatusBadGateway)
	if body, err := readAll(resp); body != "ok" || err != nil {
		t.Errorf("read %q, %v", body, err)
	}
	if got := server.connections.Load(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// TestRefusedTwice is about an HTTP/2 upstream that refuses a request for ever: it gets the request twice, and the client
// a failure at once.
func TestRefusedTwice(t *testing.T) {
	server := newHTTP2Server(t, func(conn *rawserver.Conn, stream uint32, _ int64) {
		conn.Write(frame(frameReset, 0, stream, number(codeRefused)))
	})
	wantFailure(t, http2(t), request(t, http.MethodPost, server.URL(), "prompt"), http.StatusBadGateway)
	if got := server.requests.Load(); got != 2 {
		t.Errorf("the upstream saw the request %d times, want twice", got)
	}
}
