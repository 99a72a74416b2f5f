package crashtest

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/postgres"
	"github.com/coder/aibridged/internal/postgrestest"
)

// TestSilentDatabase lets all connections to a database fall silent for ever, as a network does that has forgotten them. What
// is asked then is answered well within the promised time, by another connection.
func TestSilentDatabase(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only there is nothing acknowledged any more")
	}
	server := postgrestest.New(t, postgrestest.Options{})
	r, err := newRelayTo(server.Host())
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	db, err := postgres.Open(t.Context(), "postgres://postgres@"+r.address()+"/postgres?sslmode=disable", postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), promised)
		defer cancel()
		_, err := db.Reader.ExecContext(ctx, `SELECT 1`)
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	r.forget()
	began := time.Now()
	for ask() != nil {
		if time.Since(began) > 2*promised {
			t.Fatal("no answer")
		}
	}
	took := time.Since(began)
	t.Logf("an answer came after %v", took.Round(time.Millisecond))
	if took > promised*3/4 {
		t.Errorf("an answer came after %v", took)
	}
}
