package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/postgres"
	"github.com/coder/aibridged/proto"
)

// Transactions that fail because of each other are run again: no record fails.
func TestSerialisationFailuresAreSurvived(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	openControlPlane(t, address).exec(t, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$`)
	all := []controlPlane{openControlPlane(t, address), openControlPlane(t, address)}
	var records []*proto.Record
	for range 40 {
		records = append(records, recordsOf(idAt(time.Now()), time.Now(), "hello")...)
	}
	var storing sync.WaitGroup
	for n := range 4 {
		storing.Go(func() {
			for range 10 {
				all[n%2].mustStore(t, records...)
			}
		})
	}
	storing.Wait()
	if rows := all[0].rows(t); rows != [5]int{40, 40, 40, 40, 40} {
		t.Errorf("stored: %v", rows)
	}
}

// Another transaction has the second of two rows, and then wants the first.
func TestDeadlockIsSurvived(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	now := time.Now()
	first, second := idAt(now), idAt(now.Add(time.Second))
	insert := `INSERT INTO interceptions (id, started, started_at) VALUES ($1, FALSE, now())`
	tx, err := c.db.Writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), insert, second); err != nil {
		t.Fatal(err)
	}
	stored := make(chan []*proto.RecordFailure)
	go func() {
		_, failures := c.store(t, recordsOf(first, now, "1")[0], recordsOf(second, now, "2")[0])
		stored <- failures
	}()
	await(t, "the batch waits for the other transaction", func() bool {
		return c.number(t, `SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) OR locktype = 'transactionid' AND NOT granted`) > 0
	})
	_, err = tx.ExecContext(t.Context(), insert, first)
	if err == nil {
		err = tx.Commit()
	} else {
		_ = tx.Rollback() // It was the one that the server chose.
		err = nil
	}
	if failures := <-stored; len(failures) > 0 || err != nil {
		t.Errorf("not stored: %v, %v", failures, err)
	}
	if got := c.report(t); len(got) != 2 {
		t.Errorf("reported: %v", got)
	}
}

// Whoever locks a table keeps records waiting, but no caller for ever, and they are stored once it is free.
func TestLockedTableIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	tx, err := c.db.Reader.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `LOCK TABLE token_usages IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	records := recordsOf(idAt(time.Now()), time.Now(), "hello")
	began := time.Now()
	_, failures := c.store(t, records...)
	if len(failures) != len(records) || failures[0].GetPermanent() || time.Since(began) > 20*time.Second {
		t.Errorf("failures %v after %v", failures, time.Since(began))
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	c.mustStore(t, records...)
}

// A server that becomes a standby says so on connections that stay open. These are closed, and once it can be written to
// again, the same control plane goes on.
func TestReadOnlyServerIsLeft(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	c := openControlPlane(t, server.Address("postgres"))
	records := recordsOf(idAt(time.Now()), time.Now(), "hello")
	c.mustStore(t, records...)
	readOnly := func(on string) {
		if err := server.Exec(t.Context(), "postgres", "ALTER SYSTEM SET default_transaction_read_only = "+on, "SELECT pg_reload_conf()"); err != nil {
			t.Fatal(err)
		}
	}
	readOnly("on")
	more := recordsOf(idAt(time.Now()), time.Now(), "hello")
	await(t, "the server is read-only", func() bool { _, failures := c.store(t, more...); return len(failures) > 0 })
	for range 8 { // More often than there are connections.
		_, failures := c.store(t, more...)
		for _, failure := range failures {
			if failure.GetPermanent() {
				t.Errorf("it counts as the record's fault: %v", failure)
			}
		}
		if len(failures) != len(more) {
			t.Errorf("%d of %d failed", len(failures), len(more))
		}
	}
	if err := c.db.Health.Writable(t.Context()); err == nil {
		t.Error("it counts as writable")
	}
	if err := server.Exec(t.Context(), "postgres", "SET default_transaction_read_only = off", "ALTER SYSTEM SET default_transaction_read_only = off", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	await(t, "the records are stored", func() bool { _, failures := c.store(t, more...); return len(failures) == 0 })
	if rows := c.rows(t); rows != [5]int{2, 2, 2, 2, 2} {
		t.Errorf("stored: %v", rows)
	}
	if err := c.db.Health.Writable(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// The primary is killed, a standby takes its place, and the old primary comes back as a standby. All that was
// acknowledged is there, since the standby is a synchronous one.
func TestFailover(t *testing.T) {
	t.Parallel()
	primary := newServer(t)
	standby := primary.NewStandby(t)
	if err := primary.Exec(t.Context(), "postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	// The standby is named first: it is passed over, as it cannot be written to.
	c := openControlPlane(t, fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable", standby.Host(), primary.Host()))
	stored := 0
	store := func() bool {
		_, failures := c.store(t, recordsOf(idAt(time.Now()), time.Now(), "hello")...)
		for _, failure := range failures {
			if failure.GetPermanent() {
				t.Errorf("it counts as the record's fault: %v", failure)
			}
		}
		if len(failures) == 0 {
			stored++
		}
		return len(failures) == 0
	}
	for range 20 {
		if !store() {
			t.Fatal("not stored at first")
		}
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if store() {
		t.Error("stored without a server")
	}
	if err := standby.Exec(t.Context(), "postgres", "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		standby.Exec(t.Context(), "postgres", "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()"), primary.Demote(),
	); err != nil {
		t.Fatal(err)
	}
	await(t, "records are stored again", store)
	for range 20 {
		if !store() {
			t.Error("not stored afterwards")
		}
	}
	if rows := c.rows(t); rows[0] != stored {
		t.Errorf("%d interceptions are there, %d were acknowledged", rows[0], stored)
	}
}

// A primary becomes a standby while its connections stay open, and another server takes its place. Reads are answered by the one that
// is left for as long as there is no other, and all of them move to the new primary within a second.
func TestReadsMoveToTheNewPrimary(t *testing.T) {
	t.Parallel()
	primary := newServer(t)
	standby := primary.NewStandby(t)
	c := openControlPlane(t, fmt.Sprintf("postgres://postgres@%s,%s/postgres?sslmode=disable", primary.Host(), standby.Host()))
	portOf := func(db *sql.DB) (port int) {
		if err := db.QueryRowContext(t.Context(), `SELECT current_setting('port')::int`).Scan(&port); err != nil {
			t.Fatal(err)
		}
		return port
	}
	pools := map[string]*sql.DB{"readers": c.db.Reader, "writers": c.db.Writer, "reports": c.db.Reports}
	all := func() (ports map[int]int) { // From all connections of all pools at the same time.
		ports = map[int]int{}
		var mu sync.Mutex
		var asking sync.WaitGroup
		for _, db := range pools {
			for range 8 {
				asking.Go(func() {
					port := portOf(db)
					mu.Lock()
					defer mu.Unlock()
					ports[port]++
				})
			}
		}
		asking.Wait()
		return ports
	}
	old := portOf(c.db.Reader)
	number := func() uint64 {
		n, err := c.db.Changes.Number(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := number()
	if got := all(); len(got) != 1 || got[old] != 8*len(pools) {
		t.Fatalf("at first: %v", got)
	}
	if err := primary.Exec(t.Context(), "postgres", "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	await(t, "the primary is read-only", func() bool { return c.db.Health.Writable(t.Context()) != nil })
	delete(pools, "writers") // Who tries to write is told at once.
	for began := time.Now(); time.Since(began) < time.Second; {
		if got := all(); got[old] != 8*len(pools) {
			t.Fatalf("without a primary: %v", got)
		}
	}
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	if err := standby.Exec(t.Context(), "postgres", "UPDATE key_changes SET number = number + 1"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	await(t, "all reads lead to the new primary", func() bool { return all()[old] == 0 && number() == before+1 })
	if took := time.Since(began); took > 3*time.Second { // And more for a machine that is busy.
		t.Errorf("it took %v", took)
	}
	pools["writers"] = c.db.Writer
	await(t, "records are stored", func() bool {
		_, failures := c.store(t, recordsOf(idAt(time.Now()), time.Now(), "hello")...)
		return len(failures) == 0
	})
	await(t, "all connections lead to the new primary", func() bool { return all()[old] == 0 })
}

// A server that is killed and comes back costs failures that may succeed later, and nothing that was acknowledged.
func TestServerThatCrashes(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	c := openControlPlane(t, server.Address("postgres"))
	ctx, stop := context.WithCancel(t.Context())
	var storing sync.WaitGroup
	var acknowledged atomic.Int64
	const clients = 4
	for range clients {
		storing.Go(func() {
			for ctx.Err() == nil {
				_, failures := c.store(t, recordsOf(idAt(time.Now()), time.Now(), "hello")...)
				if len(failures) == 0 {
					acknowledged.Add(1)
				} else if failures[0].GetPermanent() {
					t.Errorf("it counts as the record's fault: %v", failures[0])
				} else {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	for range 3 {
		before := acknowledged.Load()
		await(t, "records are stored", func() bool { return acknowledged.Load() > before })
		if err := errors.Join(server.Kill(), server.Restart()); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "it stores again", func() bool {
		_, failures := c.store(t, recordsOf(idAt(time.Now()), time.Now(), "hello")...)
		return len(failures) == 0
	})
	stop()
	storing.Wait()
	sum := 1 + int(acknowledged.Load())
	if rows := c.rows(t); rows[0] < sum || rows[0] > sum+3*clients {
		t.Errorf("%d interceptions are there, %d were acknowledged", rows[0], sum)
	}
}

// What the server says of a row, it says with the row. No error repeats that.
func TestErrorsRepeatNothing(t *testing.T) {
	t.Parallel()
	const secret = "correct horse battery staple"
	for name, statement := range map[string]string{
		"constraint": `ALTER TABLE prompt_usages ADD CHECK (length(prompt) < 5)`,
		"data": `CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM NEW.prompt::int; RETURN NEW; END $$;
			CREATE TRIGGER odd BEFORE INSERT ON prompt_usages FOR EACH ROW EXECUTE FUNCTION odd()`,
		"raised": `CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no %', NEW.prompt USING HINT = NEW.prompt, DETAIL = NEW.prompt; END $$;
			CREATE TRIGGER odd BEFORE INSERT ON prompt_usages FOR EACH ROW EXECUTE FUNCTION odd()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			for statement := range strings.SplitSeq(statement, "$$;\n") {
				if strings.Contains(statement, "AS $$") {
					statement += "$$"
				}
				c.exec(t, statement)
			}
			records := recordsOf(idAt(time.Now()), time.Now(), secret)
			_, failures := c.store(t, records...)
			if len(failures) == 0 {
				t.Fatal("stored")
			}
			for _, failure := range failures {
				if strings.Contains(failure.GetError(), "horse") || !strings.Contains(failure.GetError(), "SQLSTATE") {
					t.Errorf("got %s", failure.GetError())
				}
			}
			if name != "raised" && (len(failures) != 1 || failures[0].GetIndex() != 2 || !failures[0].GetPermanent()) {
				t.Errorf("got %v", failures)
			}
		})
	}
}

func TestPasswordIsInNoError(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	for _, address := range []string{
		"postgres://u:hunter2@127.0.0.1:1/db", "postgres://u:hunter2@127.0.0.1:port/db", "postgres://u:hunter2@[::1/db", "host=127.0.0.1 port=1 password=hunter2",
		"host=127.0.0.1 port=x password=hunter2", "password=hunter2 host", "postgres://u:hunter2@127.0.0.1:1/db?sslmode=odd", "://hunter2", "hunter2",
		"postgres://u:hunter2@127.0.0.1:1/db?connect_timeout=hunter2", "postgres://u@127.0.0.1:1/db?password=hunter2&sslmode=disable",
	} {
		_, err := postgres.Open(t.Context(), address, postgres.Options{})
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Settings under which records could get lost, or a program could not work, are refused at the start.
func TestServerIsChecked(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	if _, err := postgres.Open(t.Context(), address+"&synchronous_commit=off", postgres.Options{}); err == nil || !strings.Contains(err.Error(), "synchronous_commit") {
		t.Errorf("without syncs: %v", err)
	}
	small := newServer(t, "max_connections=9", "superuser_reserved_connections=2", "max_wal_senders=0")
	if _, err := postgres.Open(t.Context(), small.Address("postgres"), postgres.Options{}); err == nil || !strings.Contains(err.Error(), "max_connections") {
		t.Errorf("with few connections: %v", err)
	}
}

// Reports have connections and a time limit of their own, so that a long one keeps nobody waiting.
func TestReportsAreApart(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	var limits [2]string
	if err := errors.Join(
		c.db.Reports.QueryRowContext(t.Context(), `SHOW statement_timeout`).Scan(&limits[0]),
		c.db.Writer.QueryRowContext(t.Context(), `SHOW statement_timeout`).Scan(&limits[1]),
	); err != nil {
		t.Fatal(err)
	}
	if limits != [2]string{"30s", "0"} {
		t.Errorf("limits %v", limits)
	}
	for range c.db.Reports.Stats().MaxOpenConnections {
		conn, err := c.db.Reports.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	c.mustStore(t, recordsOf(idAt(time.Now()), time.Now(), "hello")...)
	token, _, err := c.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "alice"})
	if err == nil {
		_, err = c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{Key: token})
	}
	if err != nil {
		t.Errorf("while reports take all their connections: %v", err)
	}
}

// The server notices within a minute that a control plane has vanished, whose connections would otherwise be missing for others.
func TestVanishedControlPlaneIsNoticed(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	for name, pool := range map[string]*sql.DB{"writer": c.db.Writer, "reader": c.db.Reader, "reports": c.db.Reports} {
		var seconds int
		err := pool.QueryRowContext(t.Context(), `SELECT current_setting('tcp_keepalives_idle')::int
			+ current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int`).Scan(&seconds)
		if err != nil || seconds == 0 || seconds > 60 {
			t.Errorf("%s: after %d seconds, %v", name, seconds, err)
		}
	}
}
