package aibridgedserver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// poison makes the database refuse every token usage with that number of input tokens.
func (c controlPlane) poison(t *testing.T, input int) {
	t.Helper()
	_, err := c.db.Writer.ExecContext(t.Context(), fmt.Sprintf(engine.Text(`CREATE TRIGGER poison BEFORE INSERT ON token_usages
		WHEN NEW.input_tokens = %d BEGIN SELECT RAISE(ABORT, 'poisoned'); END`,
		`ALTER TABLE token_usages ADD CONSTRAINT poisoned CHECK (input_tokens <> %d)`), input))
	if err != nil {
		t.Fatal(err)
	}
}

// hold takes all connections of the writer, and returns the function that gives them back.
func (c controlPlane) hold(t *testing.T) (release func()) {
	t.Helper()
	conns := make([]*sql.Conn, c.db.Writer.Stats().MaxOpenConnections)
	for i := range conns {
		var err error
		if conns[i], err = c.db.Writer.Conn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		for _, conn := range conns {
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// lock takes the database's write lock, as another process would, and returns the function that releases it. Only SQLite
// has one.
func (c controlPlane) lock(t *testing.T) (unlock func()) {
	t.Helper()
	other := openControlPlane(t, c.path, aibridgedserver.Options{})
	tx, err := other.db.Writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

func TestFault083PoisonRecordStandsAlone(t *testing.T) {
	t.Parallel()
	for name, poisoned := range map[string][]int{
		"first": {0}, "last": {999}, "one": {700}, "neighbours": {500, 501}, "several": {0, 3, 499, 998},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			c.poison(t, -1)
			request := &proto.RecordBatchRequest{}
			id := newID()
			for i := range 1000 {
				request.Records = append(request.Records, tokens(id, int64(i), i))
			}
			for _, i := range poisoned {
				request.Records[i].GetTokenUsage().InputTokens = -1
			}
			response, err := c.RecordBatch(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			var failed []int
			for _, failure := range response.GetFailures() {
				failed = append(failed, int(failure.GetIndex()))
				if !failure.GetPermanent() || !strings.Contains(failure.GetError(), "poisoned") {
					t.Errorf("failure %v", failure)
				}
			}
			checkJSON(t, failed, poisoned)
			if n := c.number(t, `SELECT count(*) FROM token_usages`); n != 1000-len(poisoned) {
				t.Errorf("%d are stored", n)
			}
		})
	}
}

// A call that fails does not make other calls fail that wait for the writer at the same time.
func TestFault083PoisonRecordFailsOnlyItsOwnCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlPlane(t)
		c.poison(t, -1)
		release := c.hold(t)
		var calls sync.WaitGroup
		for i := range 50 {
			input := int64(i)
			if i == 30 {
				input = -1
			}
			record := tokens(newID(), input, 0)
			calls.Go(func() {
				err := c.one(t.Context(), record)
				if (err != nil) != (input == -1) {
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		synctest.Wait() // All of them wait for a connection.
		release()
		calls.Wait()
		if n := c.number(t, `SELECT count(*) FROM token_usages`); n != 49 {
			t.Errorf("%d are stored", n)
		}
	})
}

// busyTimeout is how long the engine waits for another process.
const busyTimeout = 5 * time.Second

func TestFault082LockedDatabaseIsWaitedFor(t *testing.T) {
	engine.SQLiteOnly(t)
	t.Parallel()
	for _, locked := range []time.Duration{time.Millisecond, time.Second, busyTimeout - time.Second} {
		synctest.Test(t, func(t *testing.T) {
			c := newControlPlane(t)
			unlock := c.lock(t)
			time.AfterFunc(locked, unlock)
			begin := time.Now()
			for i := range 3 {
				if err := c.one(t.Context(), tokens(newID(), int64(i), 0)); err != nil {
					t.Errorf("locked for %v: %v", locked, err)
				}
			}
			if took := time.Since(begin); took < locked || took > locked+time.Second {
				t.Errorf("locked for %v, stored after %v", locked, took)
			}
			if n := c.number(t, `SELECT count(*) FROM token_usages`); n != 3 {
				t.Errorf("%d are stored", n)
			}
		})
	}
}

// A database that stays locked is the engine's failure, not the records', and holds up a caller no longer than the engine
// waits. The same records are stored once it is free.
func TestFault082DatabaseThatStaysLockedIsUnavailable(t *testing.T) {
	engine.SQLiteOnly(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlPlane(t)
		unlock := c.lock(t)
		begin := time.Now()
		request := &proto.RecordBatchRequest{
			Records: []*proto.Record{tokens(newID(), 1, 1), tokens("no UUID", 1, 1), tokens(newID(), 1, 1)},
		}
		response, err := c.RecordBatch(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		failures := response.GetFailures()
		if len(failures) != 3 || failures[0].GetPermanent() || !failures[1].GetPermanent() || failures[2].GetPermanent() {
			t.Errorf("failures %v", failures)
		}
		if err := c.one(t.Context(), tokens(newID(), 1, 1)); drpcerr.Code(err) != codeUnavailable {
			t.Errorf("alone: %v with code %d", err, drpcerr.Code(err))
		}
		if took := time.Since(begin); took > 2*(busyTimeout+100*time.Millisecond) {
			t.Errorf("two calls took %v", took)
		}
		unlock()
		if response, err = c.RecordBatch(t.Context(), request); err != nil || len(response.GetFailures()) != 1 {
			t.Errorf("afterwards: %v, %v", response, err)
		}
	})
}

// A caller waits for its turn only until its context ends, and none of its records is stored later.
func TestCallerThatGivesUpIsFreedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlPlane(t)
		release := c.hold(t)
		errGone := errors.New("gone")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errGone)
		defer cancel()
		var calls sync.WaitGroup
		for range 400 {
			calls.Go(func() {
				err := c.one(ctx, tokens(newID(), 1, 1))
				if !errors.Is(err, errGone) || drpcerr.Code(err) != codeUnavailable {
					t.Errorf("got %v", err)
				}
			})
		}
		begin := time.Now()
		calls.Wait()
		if took := time.Since(begin); took != 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		release()
		if err := c.one(t.Context(), tokens(newID(), 2, 1)); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		if n := c.number(t, `SELECT count(*) FROM token_usages`); n != 1 {
			t.Errorf("%d are stored", n)
		}
	})
}

// If another process locks the database, the caller whose turn it is waits no longer than the engine does, and is not
// told that its records are stored.
func TestCallerThatGivesUpWhileDatabaseIsLocked(t *testing.T) {
	engine.SQLiteOnly(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlPlane(t)
		unlock := c.lock(t)
		defer unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := c.one(ctx, tokens(newID(), 1, 1)); !errors.Is(err, context.DeadlineExceeded) || drpcerr.Code(err) != codeUnavailable {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begin); took > busyTimeout+100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

// If a caller's context ends before its turn, its records are not stored, and it is not told that they are.
func TestCallerThatHasLeftIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	acknowledged := make(chan string, 8*500)
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				record := tokens(newID(), 1, 1)
				if c.one(ctx, record) == nil {
					acknowledged <- record.GetTokenUsage().GetRecordId()
				}
			}
		})
	}
	calls.Wait()
	close(acknowledged)
	for text := range acknowledged {
		id := uuid.MustParse(text)
		if n := c.number(t, `SELECT count(*) FROM token_usages WHERE record_id = $1`, id[:]); n != 1 {
			t.Error("acknowledged, but not stored")
		}
	}
}

// Without its database a server answers that it is unavailable, not that the records are bad.
func TestFault082LostDatabaseIsUnavailable(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	if err := c.db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.one(t.Context(), tokens(newID(), 1, 1)); drpcerr.Code(err) != codeUnavailable {
		t.Errorf("record: %v", err)
	}
	response, err := c.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: sixKinds(newID())})
	if err != nil || len(response.GetFailures()) != 6 || response.GetFailures()[0].GetPermanent() {
		t.Errorf("batch: %v, %v", response, err)
	}
	for _, err := range c.Interceptions(t.Context(), aibridgedserver.InterceptionFilter{Limit: 5}) {
		if err == nil {
			t.Error("a report without a database")
		}
	}
	_, err = c.GetMCPServerConfigs(t.Context(), &proto.GetMCPServerConfigsRequest{UserId: newID()})
	if drpcerr.Code(err) != codeUnavailable {
		t.Errorf("MCP servers: %v", err)
	}
}

func TestCloseStoresWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newControlPlane(t)
		release := c.hold(t)
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				if err := c.one(t.Context(), tokens(newID(), 1, 1)); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		calls.Go(func() {
			if err := c.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		synctest.Wait()
		release()
		calls.Wait()
		if n := c.number(t, `SELECT count(*) FROM token_usages`); n != 100 {
			t.Errorf("%d are stored", n)
		}
		if err := c.one(t.Context(), tokens(newID(), 1, 1)); drpcerr.Code(err) != codeUnavailable {
			t.Errorf("after Close: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

// Each record whose call succeeds is stored, also while the server closes. Of a record whose call fails, nothing is
// known.
func TestCloseBesideCallsLosesNothing(t *testing.T) {
	t.Parallel()
	for range 8 {
		c := newControlPlane(t)
		var calls sync.WaitGroup
		var mu sync.Mutex
		stored := 0
		begun := make(chan struct{}, 64)
		for range 16 {
			calls.Go(func() {
				for {
					err := c.one(t.Context(), tokens(newID(), 1, 1))
					if err != nil {
						return
					}
					mu.Lock()
					stored++
					mu.Unlock()
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		for range cap(begun) {
			<-begun
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		calls.Wait()
		if n := c.number(t, `SELECT count(*) FROM token_usages`); n < stored {
			t.Errorf("%d are stored, %d were acknowledged", n, stored)
		}
	}
}

func TestNewFailsWithoutTables(t *testing.T) {
	engine.SQLiteOnly(t)
	t.Parallel()
	c := newControlPlane(t)
	if _, err := c.db.Writer.ExecContext(t.Context(), `DROP TABLE model_thoughts`); err != nil {
		t.Fatal(err)
	}
	if _, err := aibridgedserver.New(t.Context(), c.db, aibridgedserver.Options{}); err == nil {
		t.Error("a server without its tables")
	}
}

// Many goroutines record while another process, here another database handle, reads the records so far.
func TestManyRecordWhileAnotherReads(t *testing.T) {
	t.Parallel()
	const recorders, each = 64, 10
	c := newControlPlane(t)
	reader := openControlPlane(t, c.path, aibridgedserver.Options{})
	var recording sync.WaitGroup
	for range recorders {
		recording.Go(func() {
			for i := range each {
				id := newID()
				var err error
				if i%2 == 0 {
					_, err = c.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: sixKinds(id)})
				} else {
					for _, record := range sixKinds(id) {
						err = errors.Join(err, c.one(t.Context(), record))
					}
				}
				if err != nil {
					t.Errorf("record: %v", err)
				}
			}
		})
	}
	recorded := make(chan struct{})
	go func() {
		defer close(recorded)
		recording.Wait()
	}()
	for last, reading := 0, true; reading; {
		all := reader.report(t, aibridgedserver.InterceptionFilter{})
		if len(all) < last {
			t.Errorf("%d interceptions after %d", len(all), last)
		}
		last = len(all)
		select {
		case <-recorded:
			reading = false
		default:
		}
	}
	all := reader.report(t, aibridgedserver.InterceptionFilter{})
	if len(all) != recorders*each {
		t.Errorf("%d interceptions, want %d", len(all), recorders*each)
	}
	for _, i := range all {
		if len(i.Prompts) != 1 || len(i.TokenUsages) != 1 || len(i.ToolUsages) != 1 || len(i.ModelThoughts) != 1 ||
			i.EndedAt == nil {
			t.Fatalf("incomplete: %+v", i)
		}
	}
}
