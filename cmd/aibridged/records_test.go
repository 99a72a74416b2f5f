package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/proto"
)

// TestSecondGateway is fault 79: two gateways on one data directory would deliver each other's records.
func TestSecondGateway(t *testing.T) {
	s := serveHere(t)
	_, _, err := run(t.Context(), "serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", s.data)
	if err == nil || !strings.Contains(err.Error(), "in use by process") {
		t.Errorf("a second gateway on the same directory: %v", err)
	}
}

// TestRecordsResend has a database that refuses prompts: they are set aside, and resend delivers them once the database
// takes them.
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
	token, _, err := g.plane.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	database := func(query string) {
		t.Helper()
		if _, err := g.plane.db.Writer.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	database(`CREATE TRIGGER refuse BEFORE INSERT ON prompt_usages BEGIN SELECT RAISE(ABORT, 'no prompts'); END`)
	request := httptest.NewRequest(http.MethodPost, "/openai/v1/responses", strings.NewReader(`{"model":"m","input":"Hi"}`))
	request.Header.Set("Authorization", "Bearer "+token)
	g.server.ServeHTTP(httptest.NewRecorder(), request)
	ended, err := waitForRecords(t.Context(), g.plane.store, 1)
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
	// The other records of its batch are stored a moment before the refused one is set aside.
	for resent := ""; resent != "1 record will be sent again\n"; <-ticker.C {
		if resent, _, err = run(ctx, "records", "resend", "--data-dir", s.dataDir); err != nil {
			t.Fatalf("printed %q, %v", resent, err)
		}
	}
	for {
		if ended, err = waitForRecords(ctx, g.plane.store, 1); err != nil {
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

// recordedAt stores interceptions that started some ages ago.
func recordedAt(t *testing.T, s settings, ages ...time.Duration) {
	t.Helper()
	err := withStore(t.Context(), s, func(store *store) error {
		for _, age := range ages {
			_, err := store.RecordInterception(t.Context(), &proto.RecordInterceptionRequest{
				Id: uuid.NewString(), InitiatorId: uuid.NewString(), StartedAt: timestamppb.New(time.Now().Add(-age)),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecordsPrune(t *testing.T) {
	t.Parallel()
	s := settings{dataDir: t.TempDir()}
	if _, _, err := run(t.Context(), "records", "prune", "--before", "1h", "--data-dir", s.dataDir); err == nil {
		t.Error("pruned what is not there")
	}
	const day = 24 * time.Hour
	recordedAt(t, s, time.Minute, 2*day, 10*day, 20*day, 30*day)
	for _, test := range []struct{ before, want string }{
		{"720h1m", "0 interceptions deleted\n"},
		{"600h", "1 interception deleted\n"},
		{time.Now().Add(-15 * day).Format(time.DateOnly), "1 interception deleted\n"},
		{time.Now().Add(-5 * day).UTC().Format(time.RFC3339), "1 interception deleted\n"},
		{"24h", "1 interception deleted\n"},
		{"24h", "0 interceptions deleted\n"},
		{"0s", "1 interception deleted\n"},
	} {
		out, _, err := run(t.Context(), "records", "prune", "--before", test.before, "--data-dir", s.dataDir)
		if err != nil || out != test.want {
			t.Errorf("before %s: printed %q, %v, want %q", test.before, out, err, test.want)
		}
	}
	for before, want := range map[string]string{
		"": "neither a date", "yesterday": "neither a date", "2026-13-01": "neither a date", "d": "neither a date", "-1h": "neither a date",
		time.Now().Add(2 * day).Format(time.DateOnly): "still to come",
	} {
		_, _, err := run(t.Context(), "records", "prune", "--before", before, "--data-dir", s.dataDir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("before %q: %v, want %q", before, err, want)
		}
	}
	if _, _, err := run(t.Context(), "records", "prune", "--data-dir", s.dataDir); err == nil || !strings.Contains(err.Error(), "before") {
		t.Errorf("without a time: %v", err)
	}
}

func TestServeKeepRecords(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"--keep-records=-1h": "0, which is for ever, or at least 1h",
		"--keep-records=59m": "at least 1h",
		"--keep-records=24h --keep-exchanges=x --keep-exchanges-for=25h": "exchanges are kept for longer",
	} {
		args := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", t.TempDir()}, strings.Fields(options)...)
		if _, _, err := run(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", options, err, want)
		}
	}
	s := settings{dataDir: t.TempDir()}
	now := time.Now()
	recordedAt(t, s, time.Minute, 3*time.Hour, 4*time.Hour)
	synctest.Test(t, func(t *testing.T) {
		store, err := openStore(t.Context(), s, slog.Logger{})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		left := func() (n int) {
			t.Helper()
			for _, err := range store.Interceptions(t.Context(), aibridgedserver.InterceptionFilter{}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			return n
		}
		// The bubble's clock begins in 2000, so all stored records are in its future.
		time.Sleep(time.Until(now.Add(time.Second)))
		r := startRetention(store, 2*time.Hour, slog.Logger{})
		defer r.close()
		time.Sleep(time.Minute)
		if n := left(); n != 1 {
			t.Errorf("%d are left", n)
		}
		time.Sleep(3 * pruneEvery)
		if n := left(); n != 0 {
			t.Errorf("%d are left three hours later", n)
		}
	})
}
