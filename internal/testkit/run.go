package testkit

import (
	"bytes"
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
		c.runWhole(t, (*Message).pieces, overTCP, false)
	})
	if update() {
		return
	}
	t.Run("in-process", func(t *testing.T) {
		if c.Request.Header.Get("Authorization") != "" || c.Settings["network"] == "only" {
			return // The case is about the token of a request over the network.
		}
		c.runWhole(t, (*Message).pieces, inProcess, false)
	})
	t.Run("byte by byte", func(t *testing.T) {
		c.runWhole(t, func(m *Message) [][]byte { return bytes.SplitAfter(m.Body, nil) }, overTCP, false)
	})
	if len(c.Next) > 0 {
		t.Run("another gateway", func(t *testing.T) {
			c.runWhole(t, (*Message).pieces, overTCP, true)
		})
	}
	if c.leavable() {
		t.Run("client leaves", func(t *testing.T) {
			for n := range len(c.Upstream.Events()) {
				c.runLeaving(t, n+1)
			}
		})
	}
	if c.roundsLeavable() {
		t.Run("client leaves", c.runLeavingRounds)
	}
	if len(c.Calls) > 0 && len(c.Next) == 0 {
		t.Run("client leaves while a tool runs", c.runLeavingCall)
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

// send sends a request of a case to the gateway in one way.
type send func(t *testing.T, g *Gateway, request *Message) (*http.Response, error)

func overTCP(t *testing.T, g *Gateway, message *Message) (*http.Response, error) {
	t.Helper()
	request := message.newRequest(t, g.HTTP.URL+aibridge.RootPath+message.Path())
	if _, ok := request.Header["Authorization"]; !ok {
		request.Header.Set("Authorization", "Bearer "+Token)
	}
	return NewClient(t).Do(request)
}

func inProcess(t *testing.T, g *Gateway, message *Message) (*http.Response, error) {
	t.Helper()
	name, path, _ := strings.Cut(strings.TrimPrefix(message.Path(), "/"), "/")
	transport, err := aibridged.NewTransportFactory(g.Server).TransportFor(name, aibridge.SourceAgents)
	if err != nil {
		return nil, err
	}
	request := message.newRequest(t, "http://in-process/"+path)
	return transport.RoundTrip(request.WithContext(aibridge.WithDelegatedAPIKeyID(request.Context(), APIKeyID)))
}

func (m *Message) newRequest(t *testing.T, url string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), m.Method(), url, bytes.NewReader(m.Body))
	if err != nil {
		t.Fatalf("request: %v", err)
	}
	request.Header = m.Header.Clone()
	if len(request.Header["User-Agent"]) == 0 {
		request.Header.Set("User-Agent", "case/1.0")
	}
	return request
}

// runWhole sends the requests, reads the answers to their ends and compares everything. Elsewhere says that another gateway
// with the same control plane gets the later requests.
func (c *Case) runWhole(t *testing.T, pieces func(*Message) [][]byte, send send, elsewhere bool) {
	up := NewUpstream(t, c, Play{Pieces: pieces})
	options, tools := c.gatewayOptions(t, c.Tools)
	g := NewGateway(t, up.URL(), options)
	c.exchange(t, g, up, send, Exchange{c.Request, c.Received})
	if elsewhere || c.Settings["turns"] == "forgotten" {
		g.Control.WaitEnds(t, 1) // Else the records of both gateways come in any order.
		g = NewGateway(t, up.URL(), options)
	}
	for _, next := range c.Next {
		c.exchange(t, g, up, send, next)
	}
	up.CheckSent(t, c)
	c.checkRecords(t, g)
	c.checkCalls(t, tools)
}

// gatewayOptions returns the options of a gateway for the case, with these tools.
func (c *Case) gatewayOptions(t *testing.T, with []fakemcp.Tool) (GatewayOptions, *fakemcp.Server) {
	options := GatewayOptions{Control: &ControlPlane{Forgets: c.Settings["turns"] == "forgotten"}}
	if len(with) == 0 {
		return options, nil
	}
	tools := fakemcp.New(with...)
	options.MCPServers = map[string]string{"docs": serveMCP(t, tools)}
	return options, tools
}

// exchange sends one request, reads the answer to its end and compares it.
func (c *Case) exchange(t *testing.T, g *Gateway, up *Upstream, send send, of Exchange) {
	response, err := send(t, g, &of.Request)
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
	want := of.Received
	if want == nil {
		want = c.answers()[max(len(up.Sent()), 1)-1]
	}
	if response.StatusCode != want.Status() {
		t.Errorf("status %d, want %d; body %s", response.StatusCode, want.Status(), body)
	}
	if !bytes.Equal(body, want.Body) {
		t.Errorf("client got\n%s\nwant\n%s", body, want.Body)
	}
	checkHeader(t, "client", response.Header, want.Header)
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
			ends = max(ends, 1+len(c.Next))
		}
		records = g.Control.WaitEnds(t, ends)
	} else {
		records = g.Control.Records()
	}
	CheckPairs(t, records)
	if len(c.Next) == 0 {
		CheckDigests(t, records, c.Request.Body, c.upstreamBody())
	}
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
	play := newStay(c.Upstream)
	play.Pieces = func(*Message) [][]byte { return events[:n] }
	up := NewUpstream(t, c, play)
	g := NewGateway(t, up.URL(), GatewayOptions{})
	response, err := overTCP(t, g, &c.Request)
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
	await(t, play.Left, "the upstream was not told that the client left")
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
