package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
)

// TestSecondGateway is fault 79: two gateways on one data directory would deliver each other's records.
func TestSecondGateway(t *testing.T) {
	s := serveHere(t)
	_, _, err := run(t.Context(), "serve", "--listen", "127.0.0.1:0", "--data-dir", s.data)
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a second gateway on the same directory: %v", err)
	}
}

// TestRecordsResend has a database that refuses prompts: they are set aside, and come back when it takes them.
func TestRecordsResend(t *testing.T) {
	llm := httptest.NewServer(fakellm.New(fakellm.Options{}))
	defer llm.Close()
	s := settings{dataDir: t.TempDir()}
	g, err := newGateway(t.Context(), s, demoConfig(strings.TrimPrefix(llm.URL, "http://")), gatewayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	token, _, err := g.control.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	database := func(query string) {
		t.Helper()
		if _, err := g.control.db.Writer.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	database(`CREATE TRIGGER refuse BEFORE INSERT ON prompt_usages BEGIN SELECT RAISE(ABORT, 'no prompts'); END`)
	request := httptest.NewRequest(http.MethodPost, "/openai/v1/responses", strings.NewReader(`{"model":"m","input":"Hi"}`))
	request.Header.Set("Authorization", "Bearer "+token)
	g.server.ServeHTTP(httptest.NewRecorder(), request)
	ended, err := waitForRecords(t.Context(), g.control, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(ended[0].Prompts) > 0 {
		t.Fatal("the database took the prompt")
	}
	database(`DROP TRIGGER refuse`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	// The others of its batch are stored a moment before it is set aside.
	for resent := ""; resent != "1 record will be sent again\n"; <-ticker.C {
		if resent, _, err = run(ctx, "records", "resend", "--data-dir", s.dataDir); err != nil {
			t.Fatalf("printed %q, %v", resent, err)
		}
	}
	for {
		if ended, err = waitForRecords(ctx, g.control, 1); err != nil {
			t.Fatal(err)
		}
		if len(ended[0].Prompts) == 1 && ended[0].Prompts[0].Prompt == "Hi" {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal("the prompt did not come back")
		}
	}
}
