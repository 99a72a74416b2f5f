package testkit

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/fakemcp"
	"github.com/coder/aibridged/proto"
)

// update makes the tests write what was recorded into the cases' files; read the difference afterwards.
func update() bool {
	flag := flag.Lookup("update")
	return flag != nil && flag.Value.String() == "true"
}

// Run runs a case in all views; every view must give the same result.
func Run(t *testing.T, file string) {
	c := LoadCase(t, file)
	t.Run("tcp", func(t *testing.T) {
		c.runWhole(t, (*Message).pieces, overTCP)
	})
	if update() {
		return
	}
	t.Run("in-process", func(t *testing.T) {
		if c.Request.Header.Get("Authorization") != "" || c.Settings["network"] == "only" {
			return // The case is about the token of a request over the network.
		}
		c.runWhole(t, (*Message).pieces, inProcess)
	})
	t.Run("byte by byte", func(t *testing.T) {
		c.runWhole(t, func(m *Message) [][]byte { return bytes.SplitAfter(m.Body, nil) }, overTCP)
	})
	if c.leavable() {
		t.Run("client leaves", func(t *testing.T) {
			for n := range len(c.Upstream.Events()) {
				c.runLeaving(t, n+1)
			}
		})
	}
}

// upstreamBody returns the bodies of all answers, one behind the other.
func (c *Case) upstreamBody() []byte {
	var all []byte
	for _, answer := range c.answers() {
		all = append(all, answer.Body...)
	}
	return all
}

// pieces returns the pieces in which an upstream writes a message's body.
func (m *Message) pieces() [][]byte {
	if m.IsStream() {
		return m.Events()
	}
	return [][]byte{m.Body}
}

// leavable reports whether a test of this case can leave after each event: the answer must be a stream that the client
// gets unchanged.
func (c *Case) leavable() bool {
	return c.Upstream != nil && c.Upstream.IsStream() && c.Received == nil && len(c.Tools) == 0 && c.Settings["ending"] == "clean" &&
		c.Settings["client"] == "served" && c.Upstream.Status() == http.StatusOK && c.Upstream.Header.Get("Content-Encoding") == ""
}

// send sends the request of a case to the gateway in one way.
type send func(t *testing.T, g *Gateway, c *Case) (*http.Response, error)

func overTCP(t *testing.T, g *Gateway, c *Case) (*http.Response, error) {
	t.Helper()
	request := c.newRequest(t, g.HTTP.URL+aibridge.RootPath+c.Request.Path())
	if _, ok := request.Header["Authorization"]; !ok {
		request.Header.Set("Authorization", "Bearer "+Token)
	}
	return NewClient(t).Do(request)
}

func inProcess(t *testing.T, g *Gateway, c *Case) (*http.Response, error) {
	t.Helper()
	name, path, _ := strings.Cut(strings.TrimPrefix(c.Request.Path(), "/"), "/")
	transport, err := aibridged.NewTransportFactory(g.Server).TransportFor(name, aibridge.SourceAgents)
	if err != nil {
		return nil, err
	}
	request := c.newRequest(t, "http://in-process/"+path)
	return transport.RoundTrip(request.WithContext(aibridge.WithDelegatedAPIKeyID(request.Context(), APIKeyID)))
}

func (c *Case) newRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), c.Request.Method(), url, bytes.NewReader(c.Request.Body))
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	request.Header = c.Request.Header.Clone()
	if len(request.Header["User-Agent"]) == 0 {
		request.Header.Set("User-Agent", "case/1.0")
	}
	return request
}

// runWhole sends the request, reads the answer to its end and compares everything.
func (c *Case) runWhole(t *testing.T, pieces func(*Message) [][]byte, send send) {
	up := NewUpstream(t, c, Play{Pieces: pieces})
	options := GatewayOptions{}
	var tools *fakemcp.Server
	if len(c.Tools) > 0 {
		tools = fakemcp.New(c.Tools...)
		options.MCPServers = map[string]string{"docs": serveMCP(t, tools)}
	}
	g := NewGateway(t, up.URL(), options)
	response, err := send(t, g, c)
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	aborted := errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !aborted {
		t.Fatalf("read answer: %v", err)
	}
	if want := c.Settings["client"] == "aborted"; aborted != want {
		t.Errorf("answer aborted: %t, want %t", aborted, want)
	}
	want := c.Received
	if want == nil {
		want = c.Upstream
	}
	if response.StatusCode != want.Status() {
		t.Errorf("status %d, want %d; body %s", response.StatusCode, want.Status(), body)
	}
	if !bytes.Equal(body, want.Body) {
		t.Errorf("client got\n%q\nwant\n%q", body, want.Body)
	}
	checkHeader(t, "client", response.Header, want.Header)
	up.CheckSent(t, c)
	c.checkRecords(t, g)
	c.checkCalls(t, tools)
}

// serveMCP serves an MCP server until the test ends, and returns its address.
func serveMCP(t *testing.T, handler http.Handler) string {
	served := httptest.NewServer(handler)
	t.Cleanup(func() {
		served.CloseClientConnections()
		served.Close()
	})
	return served.URL
}

// checkCalls fails the test unless the MCP server was called for what the case says.
func (c *Case) checkCalls(t *testing.T, tools *fakemcp.Server) {
	t.Helper()
	if tools == nil {
		return
	}
	var got []string
	for _, call := range tools.Calls() {
		got = append(got, call.Tool+" "+call.Arguments)
	}
	want := slices.Sorted(slices.Values(c.Calls))
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("tools were called for %q, want %q", got, want)
	}
}

func (c *Case) checkRecords(t *testing.T, g *Gateway) {
	t.Helper()
	var records []*proto.Record
	if c.Records != "" || update() {
		ends := strings.Count(c.Records, `"record":"interception"`)
		if update() && c.Upstream != nil {
			ends = max(ends, 1)
		}
		records = g.Control.WaitEnds(t, ends)
	} else {
		records = g.Control.Records()
	}
	CheckPairs(t, records)
	CheckDigests(t, records, c.Request.Body, c.upstreamBody())
	got := RenderRecords(t, records)
	for id, url := range g.Control.MCPServers {
		got = strings.ReplaceAll(got, url, "http://"+id) // The port differs from run to run.
	}
	if log := g.Log.String(); strings.Contains(log+got, ProviderKey) || strings.Contains(log+got, Token) {
		t.Errorf("a credential is in the log or the records:\n%s\n%s", log, got)
	}
	if update() {
		c.WriteRecords(t, got)
		return
	}
	if got != c.Records {
		t.Errorf("recorded\n%s\nwant\n%s", got, c.Records)
	}
}

// runLeaving leaves after n events: the upstream must notice, and what came by then must be recorded.
func (c *Case) runLeaving(t *testing.T, n int) {
	events := c.Upstream.Events()
	play := Play{Pieces: func(*Message) [][]byte { return events[:n] }, Stay: true, Left: make(chan struct{})}
	up := NewUpstream(t, c, play)
	g := NewGateway(t, up.URL(), GatewayOptions{})
	response, err := overTCP(t, g, c)
	if err != nil {
		t.Fatalf("after %d events: %v", n, err)
	}
	want := bytes.Join(events[:n], nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(response.Body, got); err != nil {
		t.Fatalf("after %d events: %v", n, err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("after %d events: got\n%q\nwant\n%q", n, got, want)
	}
	_ = response.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	select {
	case <-play.Left:
	case <-ctx.Done():
		t.Fatalf("after %d events: the upstream was not told that the client left", n)
	}
	records := g.Control.WaitEnds(t, 1)
	CheckPairs(t, records)
	CheckDigests(t, records, c.Request.Body, c.upstreamBody())
	end := records[len(records)-1].GetInterceptionEnded()
	wantType := string(aibridge.ErrorClientClosed)
	if slices.ContainsFunc(events[:n], isTerminal) {
		wantType = c.endType() // A client that leaves now has the whole answer.
	}
	if end.GetErrorType() != wantType {
		t.Errorf("after %d events: ended as %q (%s), want %q", n, end.GetErrorType(), end.GetErrorMessage(), wantType)
	}
}

// isTerminal reports whether an event looks like one that ends an answer.
func isTerminal(event []byte) bool {
	for _, mark := range []string{
		`"type":"message_stop"`, `"type":"error"`, `"error":"`, `"finish_reason":"`, "[DONE]",
		`"type":"response.completed"`, "event: response.completed\n", `"type":"response.failed"`, `"type":"response.incomplete"`,
	} {
		if bytes.Contains(event, []byte(mark)) {
			return true
		}
	}
	return false
}

// endType returns the error type that the case expects.
func (c *Case) endType() string {
	_, after, ok := strings.Cut(c.Records, `"error_type":"`)
	if !ok {
		return ""
	}
	kind, _, _ := strings.Cut(after, `"`)
	return kind
}
