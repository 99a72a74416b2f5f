package main

import (
	"errors"
	"os"
	"testing"
	"time"
)

// knowsWithin is how soon a gateway knows what /readyz of its control plane says, and more for a machine that is busy.
const knowsWithin = 5*time.Second + soon/2

// TestControlPlaneNotReady takes the database away from a control plane that runs on: its gateway is not ready either, and
// says why, until the database is back.
func TestControlPlaneNotReady(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		db := func(a *apart) string { return settings{dataDir: a.data}.database() }
		testControlPlaneNotReady(t, "the database file aibridged.db has been deleted",
			func(a *apart) error { return errors.Join(os.Link(db(a), db(a)+".kept"), os.Remove(db(a))) },
			func(a *apart) error { return os.Rename(db(a)+".kept", db(a)) },
		)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := newPostgres(t)
		t.Setenv(databaseVariable, server.Address("postgres"))
		testControlPlaneNotReady(t, "the database does not answer",
			func(*apart) error { return server.Kill() }, func(*apart) error { return server.Restart() })
	})
}

func testControlPlaneNotReady(t *testing.T, want string, take, back func(*apart) error) {
	upstream, a := newCannedUpstream(t), newApart(t)
	a.startControl(t, configFile(t, providerText("main", upstream.URL)))
	a.startGateway(t)
	a.becomes(t, 200, "ready")
	token := newToken(t, a.data)
	if status := a.status(t, "main", token); status != 200 {
		t.Fatal(status)
	}
	a.flushed(t)
	check(t, take(a))
	began := time.Now()
	a.becomes(t, 503, "not ready: at the control plane: "+want+"\n")
	lost := time.Since(began)
	check(t, back(a))
	began = time.Now()
	a.becomes(t, 200, "ready")
	found := time.Since(began)
	t.Logf("the gateway is not ready after %v, and ready again after %v", lost, found)
	if max(lost, found) > knowsWithin {
		t.Errorf("the gateway is not ready after %v, and ready again after %v", lost, found)
	}
	if status := a.status(t, "main", token); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}
