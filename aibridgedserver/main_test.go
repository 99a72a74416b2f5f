package aibridgedserver_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/enginetest"
	"github.com/coder/aibridged/proto"
)

// engine is what the tests of this package, which are the suite of its engines, run on.
var engine = enginetest.New()

func TestMain(m *testing.M) { engine.Main(m) }

// controlPlane is a server on a database of its own.
type controlPlane struct {
	*aibridgedserver.Server
	db   aibridgedserver.Database
	path string
}

func newControlPlane(tb testing.TB) controlPlane {
	tb.Helper()
	return openControlPlane(tb, filepath.Join(tb.TempDir(), "control.db"), aibridgedserver.Options{})
}

// openControlPlane opens a database that may be open already: two control planes on one path are like two processes.
func openControlPlane(tb testing.TB, path string, options aibridgedserver.Options) controlPlane {
	tb.Helper()
	return serverWith(tb, engine.Open(tb, path), path, options)
}

// serverOn returns a control plane on a database, which the test closes with it.
func serverOn(tb testing.TB, db aibridgedserver.Database, path string) controlPlane {
	tb.Helper()
	return serverWith(tb, db, path, aibridgedserver.Options{})
}

func serverWith(tb testing.TB, db aibridgedserver.Database, path string, options aibridgedserver.Options) controlPlane {
	tb.Helper()
	server, err := aibridgedserver.New(tb.Context(), db, options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := server.Close(); err != nil {
			tb.Errorf("close server: %v", err)
		}
		if err := db.Close(); err != nil {
			tb.Errorf("close database: %v", err)
		}
	})
	return controlPlane{server, db, path}
}

// number returns the one integer that query yields.
func (c controlPlane) number(tb testing.TB, query string, args ...any) int {
	tb.Helper()
	var n int
	if err := c.db.Reader.QueryRowContext(tb.Context(), query, args...).Scan(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

// report returns the interceptions that filter keeps.
func (c controlPlane) report(tb testing.TB, filter aibridgedserver.InterceptionFilter) []*aibridgedserver.Interception {
	tb.Helper()
	var all []*aibridgedserver.Interception
	for interception, err := range c.Interceptions(tb.Context(), filter) {
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, interception)
	}
	return all
}

// token makes a token for a user.
func (c controlPlane) token(tb testing.TB, username string) (string, aibridgedserver.APIKey) {
	tb.Helper()
	token, key, err := c.CreateToken(tb.Context(), aibridgedserver.TokenParams{Username: username})
	if err != nil {
		tb.Fatal(err)
	}
	return token, key
}

// mustStore stores records. It fails the test if one of them is not stored.
func (c controlPlane) mustStore(tb testing.TB, records ...*proto.Record) {
	tb.Helper()
	response, err := c.RecordBatch(tb.Context(), &proto.RecordBatchRequest{Records: records})
	if err != nil {
		tb.Fatal(err)
	}
	if len(response.GetFailures()) > 0 {
		tb.Fatalf("not stored: %v", response.GetFailures())
	}
}

// newID returns a new UUID, each greater than the one before.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// second returns the nth second of a day.
func second(n int) *timestamppb.Timestamp {
	return timestamppb.New(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Second))
}

func start(id, initiator string, at int) *proto.Record {
	return &proto.Record{Record: &proto.Record_Interception{Interception: &proto.RecordInterceptionRequest{
		Id: id, InitiatorId: initiator, Provider: "anthropic", ProviderName: "main", Model: "claude", StartedAt: second(at),
		Client: "Claude Code", UserAgent: "claude-cli/2.1.330", ApiKeyId: "abcdefghij", CredentialKind: "centralized",
		CredentialHint: "sk-a...wxyz",
	}}}
}

func end(id string, at int) *proto.Record {
	return &proto.Record{Record: &proto.Record_InterceptionEnded{
		InterceptionEnded: &proto.RecordInterceptionEndedRequest{Id: id, EndedAt: second(at), RecordId: newID()},
	}}
}

func prompt(interception, text string, at int) *proto.Record {
	return &proto.Record{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
		InterceptionId: interception, MsgId: "msg_1", Prompt: text, CreatedAt: second(at), RecordId: newID(),
	}}}
}

func tokens(interception string, input int64, at int) *proto.Record {
	return &proto.Record{Record: &proto.Record_TokenUsage{TokenUsage: &proto.RecordTokenUsageRequest{
		InterceptionId: interception, MsgId: "msg_1", InputTokens: input, OutputTokens: 7, CacheReadInputTokens: 5,
		CacheWriteInputTokens: 3, CreatedAt: second(at), RecordId: newID(),
	}}}
}

func tool(interception, name, input string, at int) *proto.Record {
	return &proto.Record{Record: &proto.Record_ToolUsage{ToolUsage: &proto.RecordToolUsageRequest{
		InterceptionId: interception, MsgId: "msg_1", Tool: name, Input: input, ToolCallId: "toolu_1", CreatedAt: second(at),
		RecordId: newID(),
	}}}
}

func thought(interception, content string, at int) *proto.Record {
	return &proto.Record{Record: &proto.Record_ModelThought{ModelThought: &proto.RecordModelThoughtRequest{
		InterceptionId: interception, Content: content, CreatedAt: second(at), RecordId: newID(),
	}}}
}
