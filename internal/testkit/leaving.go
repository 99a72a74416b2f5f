package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/fakemcp"
)

func newStay(at *Message) Play {
	return Play{Pieces: (*Message).pieces, Stay: at, Reached: make(chan struct{}), Left: make(chan struct{})}
}

// await waits until something has happened, and fails the test with a text where that takes longer than [Patience].
func await(t *testing.T, happened <-chan struct{}, text string) {
	t.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	select {
	case <-happened:
	case <-timer.C:
		t.Fatal(text)
	}
}

// roundsLeavable reports whether a test of this case can leave after each event of its rounds: they must all be streams in
// good order, of one request, and the last one must have no call of the gateway's, for which its end is held.
func (c *Case) roundsLeavable() bool {
	all := c.answers()
	return len(c.Later) > 0 && !bytes.Contains(all[len(all)-1].Body, []byte("bmcp_")) && len(c.Next) == 0 && c.Settings["ending"] == "clean" && c.endType() == "" &&
		!slices.ContainsFunc(c.answers(), func(m *Message) bool { return !m.IsStream() || m.Status() != http.StatusOK })
}

// runLeavingRounds leaves after each event of each round.
func (c *Case) runLeavingRounds(t *testing.T) {
	tools := fakemcp.New(c.Tools...)
	servers := map[string]string{"docs": serveMCP(t, tools)}
	for n, answer := range c.answers() {
		events := answer.Events()
		for m := range len(events) + 1 {
			isStart := n == 0 && m == 0                   // The client has no answer to leave.
			isEnd := n < len(c.Later) && m == len(events) // It is the same as before the first event of the next round.
			if !isStart && !isEnd {
				c.runLeavingRound(t, n, m, servers)
			}
		}
	}
	c.checkNoMoreCalls(t, tools, c.positions())
}

// positions returns at how many places runLeavingRounds leaves.
func (c *Case) positions() int {
	n := 0
	for _, answer := range c.answers() {
		n += len(answer.Events())
	}
	return n
}

// checkNoMoreCalls fails the test if tools were called more often than each call of the case that many times.
func (c *Case) checkNoMoreCalls(t *testing.T, tools *fakemcp.Server, times int) {
	t.Helper()
	left := map[string]int{}
	for _, call := range c.Calls {
		left[call] += times
	}
	for _, call := range tools.Calls() {
		name := call.Tool + " " + call.Arguments
		if left[name]--; left[name] < 0 {
			t.Errorf("%s was called too often", name)
		}
	}
}

// runLeavingRound leaves after m events of the n-th answer: the upstream gets no other request, and the interception ends.
func (c *Case) runLeavingRound(t *testing.T, n, m int, servers map[string]string) {
	t.Helper()
	stay := c.answers()[n]
	events := stay.Events()[:m]
	play := newStay(stay)
	play.Pieces = func(answer *Message) [][]byte {
		if answer == stay {
			return events
		}
		return answer.Events()
	}
	up := NewUpstream(t, c, play)
	g := NewGateway(t, up.URL(), GatewayOptions{MCPServers: servers})
	response, err := overTCP(t, g, &c.Request)
	if err != nil {
		t.Fatalf("round %d, after %d events: %v", n+1, m, err)
	}
	await(t, play.Reached, "the gateway did not ask for the next round")
	whole := n == len(c.Later) && slices.ContainsFunc(events, isTerminal)
	want := c.seenFor(n, m, whole)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(response.Body, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("round %d, after %d events: got\n%s\nwant\n%s\n%v", n+1, m, got, want, err)
	}
	_ = response.Body.Close()
	await(t, play.Left, "the upstream was not told that the client left")
	records := g.Control.WaitEnds(t, 1)
	CheckPairs(t, records)
	end := records[len(records)-1].GetInterceptionEnded()
	wantType := string(aibridge.ErrorClientClosed)
	if whole {
		wantType = "" // A client that leaves now has the whole answer.
	}
	if end.GetErrorType() != wantType {
		t.Errorf("round %d, after %d events: ended as %q (%s), want %q", n+1, m, end.GetErrorType(), end.GetErrorMessage(), wantType)
	}
	if sent := len(up.Sent()); sent != n+1 {
		t.Errorf("round %d, after %d events: the upstream got %d requests", n+1, m, sent)
	}
}

// seenFor returns what a client must have after m events of the n-th answer, at least: what has come as the first answer
// began, and all up to the event that ends the answer if that has come.
func (c *Case) seenFor(n, m int, whole bool) []byte {
	received, first := c.Received.Events(), c.Upstream.Events()
	if n == 0 {
		first = first[:m]
	}
	for i, event := range received {
		if whole && isTerminal(event) {
			return bytes.Join(received[:i+1], nil)
		}
		if !whole && (i == len(first) || !bytes.Equal(first[i], event)) {
			return bytes.Join(received[:i], nil)
		}
	}
	return bytes.Join(received, nil)
}

// runLeavingCall leaves while tools of the first round with calls run: these are told, and nothing is called or sent after that.
func (c *Case) runLeavingCall(t *testing.T) {
	running, told := make(chan struct{}), make(chan struct{})
	var began, ended sync.Once
	var with []fakemcp.Tool
	for _, tool := range c.Tools {
		tool.Run = func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
			began.Do(func() { close(running) })
			<-ctx.Done()
			ended.Do(func() { close(told) })
			return nil, ctx.Err()
		}
		with = append(with, tool)
	}
	up := NewUpstream(t, c, Play{Pieces: (*Message).pieces})
	options, tools := c.gatewayOptions(t, with)
	g := NewGateway(t, up.URL(), options)
	ctx, leave := context.WithCancel(t.Context())
	request := c.Request.newRequest(t, g.HTTP.URL+aibridge.RootPath+c.Request.Path()).WithContext(ctx)
	request.Header.Set("Authorization", "Bearer "+Token)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, err := NewClient(t).Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body) // Ends with an error, since the client leaves.
			_ = response.Body.Close()
		}
	}()
	await(t, running, "no tool was called")
	sent := len(up.Sent())
	leave()
	await(t, told, "the tool was not told that the client left")
	<-done
	records := g.Control.WaitEnds(t, 1)
	CheckPairs(t, records)
	if end := records[len(records)-1].GetInterceptionEnded(); end.GetErrorType() != string(aibridge.ErrorClientClosed) {
		t.Errorf("ended as %q (%s), want %q", end.GetErrorType(), end.GetErrorMessage(), aibridge.ErrorClientClosed)
	}
	if now := len(up.Sent()); now != sent {
		t.Errorf("the upstream got %d requests after the client had left", now-sent)
	}
	c.checkNoMoreCalls(t, tools, 1)
}
