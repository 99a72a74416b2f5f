package postgres_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/postgres"
	"github.com/coder/aibridged/internal/postgrestest"
	"github.com/coder/aibridged/proto"
)

// shared is the server of all tests that need none of their own.
var shared postgrestest.Shared

func TestMain(m *testing.M) { shared.Main(m) }

// newServer starts a server that the test has for itself.
func newServer(t *testing.T, settings ...string) *postgrestest.Server {
	t.Helper()
	return postgrestest.New(t, postgrestest.Options{Settings: settings})
}

// newAddress returns the address of an empty database.
func newAddress(t *testing.T) string {
	t.Helper()
	name := shared.Server(t).Database(t, "")
	return shared.Server(t).Address(name)
}

// controlPlane is a server on a database.
type controlPlane struct {
	*aibridgedserver.Server

	db aibridgedserver.Database
}

func newControlPlane(t *testing.T) controlPlane {
	t.Helper()
	return openControlPlane(t, newAddress(t))
}

func openControlPlane(t *testing.T, address string) controlPlane {
	t.Helper()
	db, err := postgres.Open(t.Context(), address, postgres.Options{Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	server, err := aibridgedserver.New(t.Context(), db, aibridgedserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), db.Close()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return controlPlane{server, db}
}

// exec runs a statement, as another program would.
func (c controlPlane) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := c.db.Writer.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// number returns the one number that query yields.
func (c controlPlane) number(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := c.db.Reader.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// store stores records, and returns how many of them had been stored before, and the failures.
func (c controlPlane) store(t *testing.T, records ...*proto.Record) (duplicates int, failures []*proto.RecordFailure) {
	t.Helper()
	response, err := c.RecordBatch(t.Context(), &proto.RecordBatchRequest{Records: records})
	if err != nil {
		t.Fatal(err)
	}
	return int(response.GetDuplicates()), response.GetFailures()
}

func (c controlPlane) mustStore(t *testing.T, records ...*proto.Record) {
	t.Helper()
	if _, failures := c.store(t, records...); len(failures) > 0 {
		t.Fatalf("not stored: %v", failures)
	}
}

func (c controlPlane) report(t *testing.T) (all []*aibridgedserver.Interception) {
	t.Helper()
	for interception, err := range c.Interceptions(t.Context(), aibridgedserver.InterceptionFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, interception)
	}
	return all
}

// rows returns how many rows each table of records has.
func (c controlPlane) rows(t *testing.T) (rows [5]int) {
	t.Helper()
	for i, table := range tables() {
		rows[i] = c.number(t, `SELECT count(*) FROM `+table)
	}
	return rows
}

func tables() [5]string {
	return [...]string{"interceptions", "token_usages", "prompt_usages", "tool_usages", "model_thoughts"}
}

// idAt returns an id as a gateway makes it at a time.
func idAt(at time.Time) string {
	id := uuid.Must(uuid.NewV7())
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(at.UnixMilli())<<16)
	copy(id[:6], millis[:6])
	return id.String()
}

// recordsOf returns five records, one a table, of an interception that begins at a time.
func recordsOf(id string, at time.Time, text string) []*proto.Record {
	when := timestamppb.New(at)
	return []*proto.Record{
		{Record: &proto.Record_Interception{Interception: &proto.RecordInterceptionRequest{
			Id: id, InitiatorId: uuid.NewString(), Provider: "anthropic", Model: "claude", StartedAt: when,
		}}},
		{Record: &proto.Record_TokenUsage{TokenUsage: &proto.RecordTokenUsageRequest{
			InterceptionId: id, RecordId: idAt(at), InputTokens: 1, CreatedAt: when,
		}}},
		{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
			InterceptionId: id, RecordId: idAt(at), Prompt: text, CreatedAt: when,
		}}},
		{Record: &proto.Record_ToolUsage{ToolUsage: &proto.RecordToolUsageRequest{
			InterceptionId: id, RecordId: idAt(at), Tool: "Bash", Input: "{}", CreatedAt: when,
		}}},
		{Record: &proto.Record_ModelThought{ModelThought: &proto.RecordModelThoughtRequest{
			InterceptionId: id, RecordId: idAt(at), Content: text, CreatedAt: when,
		}}},
	}
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// logger shows what is logged if the test fails.
func logger(t *testing.T) slog.Logger {
	return slog.Make(sinkFunc(func(entry slog.SinkEntry) { t.Logf("%s %v", entry.Message, entry.Fields) }))
}

// sinkFunc is called with each log entry.
type sinkFunc func(slog.SinkEntry)

func (f sinkFunc) LogEntry(_ context.Context, entry slog.SinkEntry) { f(entry) }
func (sinkFunc) Sync()                                              {}
