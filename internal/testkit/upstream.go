package testkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/aibridged/internal/rawserver"
)

// Upstream plays the answers of a case, each to one request in their order. The last one is the answer to all that follow.
type Upstream struct {
	*rawserver.Server

	mu   sync.Mutex
	sent []Message // Guarded by mu.
}

// Play says how an upstream plays its answer.
type Play struct {
	// Pieces returns what it writes of an answer's body, each in a write of its own.
	Pieces func(*Message) [][]byte
	// Stay is the answer after whose last piece it closes Reached and waits until the gateway hangs up. Then it closes Left.
	Stay    *Message
	Reached chan struct{}
	Left    chan struct{}
}

// NewUpstream returns an upstream that answers with c's answer. It is closed with the test.
func NewUpstream(t testing.TB, c *Case, play Play) *Upstream {
	t.Helper()
	u := &Upstream{}
	u.Server = rawserver.New(t, func(conn *rawserver.Conn) {
		for {
			request, body := conn.ReadRequest()
			if request == nil {
				return
			}
			u.mu.Lock()
			n := len(u.sent)
			u.sent = append(u.sent, Message{First: request.Method + " " + request.RequestURI, Header: request.Header, Body: body})
			u.mu.Unlock()
			all := c.answers()
			if len(all) == 0 {
				return
			}
			if !answer(conn, c, all[min(n, len(all)-1)], play) {
				return
			}
		}
	})
	return u
}

// Sent returns the requests so far, in order.
func (u *Upstream) Sent() []Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.sent)
}

// answer plays one answer. It reports whether the connection stays open.
func answer(conn *rawserver.Conn, c *Case, message *Message, play Play) bool {
	var head bytes.Buffer
	status := message.Status()
	fmt.Fprintf(&head, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	for _, name := range slices.Sorted(maps.Keys(message.Header)) {
		for _, value := range message.Header[name] {
			fmt.Fprintf(&head, "%s: %s\r\n", name, value)
		}
	}
	framing := c.Settings["framing"]
	isLast := message == c.answers()[len(c.Later)]
	cut := c.Settings["ending"] == "cut" && isLast
	switch framing {
	case "chunked":
		head.WriteString("Transfer-Encoding: chunked\r\n")
	case "length":
		length := len(message.Body)
		if cut {
			length++
		}
		fmt.Fprintf(&head, "Content-Length: %d\r\n", length)
	case "close":
		head.WriteString("Connection: close\r\n")
	}
	conn.Write(head.String() + "\r\n")
	for _, piece := range play.Pieces(message) {
		if framing == "chunked" {
			conn.Write(fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece))
		} else {
			conn.Write(string(piece))
		}
	}
	if play.Stay == message {
		close(play.Reached)
		_, _ = conn.Read(make([]byte, 1)) // Returns when the gateway hangs up.
		close(play.Left)
		return false
	}
	if framing == "close" || cut {
		return false
	}
	if framing == "chunked" {
		conn.Write("0\r\n\r\n")
	}
	return true
}

// CheckSent fails the test unless the upstream got what the case says, and none of the gateway's secrets.
func (u *Upstream) CheckSent(t testing.TB, c *Case) {
	t.Helper()
	sent := u.Sent()
	if c.Upstream == nil {
		if len(sent) != 0 {
			t.Errorf("upstream got %d requests, want none", len(sent))
		}
		return
	}
	if len(sent) != len(c.answers()) {
		t.Fatalf("upstream got %d requests, want %d", len(sent), len(c.answers()))
	}
	for n, round := range c.Later {
		round.checkSent(t, n+2, sent[n+1])
	}
	got := sent[0]
	want := Message{First: c.Request.Method() + " " + upstreamPath(c.Request.Path()), Body: c.Request.Body}
	if c.Sent != nil {
		want = *c.Sent
	}
	if got.First != want.First {
		t.Errorf("upstream got %q, want %q", got.First, want.First)
	}
	if !bytes.Equal(got.Body, want.Body) {
		t.Errorf("upstream got body\n%s\nwant\n%s", got.Body, want.Body)
	}
	checkHeader(t, "upstream", got.Header, want.Header)
	if text := got.First + fmt.Sprint(got.Header); strings.Contains(text, Token) {
		t.Errorf("the gateway's token went upstream: %s", text)
	}
}

// checkSent fails the test unless a later round's request is what the case says, if it says it.
func (r Round) checkSent(t testing.TB, n int, got Message) {
	t.Helper()
	if r.Sent == nil {
		return
	}
	if sent := tokens(got.Body); sent == nil || !slices.Equal(sent, tokens(r.Sent.Body)) {
		t.Errorf("upstream got body %d\n%s\nwant\n%s", n, got.Body, r.Sent.Body)
	}
	checkHeader(t, "upstream", got.Header, r.Sent.Header)
}

// tokens returns the tokens of a JSON value: its members in their order, numbers as they are written, strings without their
// escapes. Nil: it is no JSON.
func tokens(value []byte) []json.Token {
	if !json.Valid(value) {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var all []json.Token
	for {
		token, err := decoder.Token()
		if err != nil {
			return all
		}
		all = append(all, token)
	}
}

// upstreamPath returns a request's path without the provider's name.
func upstreamPath(path string) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return "/" + rest
}

// checkHeader compares the headers that want names; those with nil values must be absent.
func checkHeader(t testing.TB, who string, got, want http.Header) {
	t.Helper()
	for name, values := range want {
		if !slices.Equal(got[name], values) {
			t.Errorf("%s got %s: %q, want %q", who, name, got[name], values)
		}
	}
}
