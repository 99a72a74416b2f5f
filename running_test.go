package aibridged_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/internal/testkit"
)

// A server tells what it is serving, for whom, and as which interception, and ends a request that is to be ended: its answer
// breaks off, and it is recorded as truncated. Other requests go on.
func TestRunning(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, streamBegin)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(upstream.Close)
	g := testkit.NewGateway(t, upstream.URL, testkit.GatewayOptions{})
	if running := g.Server.Running(); len(running) != 0 {
		t.Fatalf("%+v", running)
	}
	client := testkit.NewClient(t)
	begin := func() *bufio.Reader {
		response, err := client.Do(g.Request(t, http.MethodPost, "/anthropic/v1/messages", `{"model":"m","stream":true,"messages":[]}`))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		reader := bufio.NewReader(response.Body)
		if _, err := reader.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		return reader
	}
	first := begin()
	running := g.Server.Running()
	if len(running) != 1 {
		t.Fatalf("%+v", running)
	}
	one := running[0]
	begin()
	want := aibridged.Running{
		ID: one.ID, Since: one.Since, InitiatorID: testkit.OwnerID, Username: testkit.Username, Provider: "anthropic",
		InterceptionID: one.InterceptionID, APIKeyID: testkit.APIKeyID, Model: "m", Client: one.Client,
	}
	if one != want || one.InterceptionID == "" || one.Client == "" || time.Since(one.Since) > testkit.Patience {
		t.Errorf("%+v", one)
	}
	if g.Server.End(one.ID+100) || !g.Server.End(one.ID) {
		t.Error("End ends what is not there, or not what is")
	}
	if _, err := io.ReadAll(first); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the client's stream ended with %v", err)
	}
	for _, record := range g.Control.WaitEnds(t, 1) {
		if end := record.GetInterceptionEnded(); end != nil && (end.GetId() != one.InterceptionID || end.GetErrorType() != "truncated") {
			t.Errorf("ended as %v", end)
		}
	}
	if running := g.Server.Running(); len(running) != 1 || running[0].ID == one.ID || g.Server.End(one.ID) {
		t.Errorf("%+v are running", running)
	}
}

// What is refused, or passed through, has no interception. When it is over, nothing is left of it.
func TestRunningUnrecorded(t *testing.T) {
	t.Parallel()
	seen := make(chan []aibridged.Running, 1)
	var g *testkit.Gateway
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen <- g.Server.Running() }))
	t.Cleanup(upstream.Close)
	g = testkit.NewGateway(t, upstream.URL, testkit.GatewayOptions{})
	response, err := testkit.NewClient(t).Do(g.Request(t, http.MethodGet, "/anthropic/v1/models", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	if running := <-seen; len(running) != 1 || running[0].InterceptionID != "" || running[0].Username != testkit.Username {
		t.Errorf("%+v", running)
	}
	g.HTTP.Close() // Waits until the handler has returned.
	if running := g.Server.Running(); len(running) != 0 {
		t.Errorf("%+v are running", running)
	}
}
