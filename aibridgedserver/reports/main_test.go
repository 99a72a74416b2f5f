package reports_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/enginetest"
	"github.com/coder/aibridged/internal/recordgen"
	"github.com/coder/aibridged/proto"
)

// engine is what the tests run on.
var engine = enginetest.New()

func TestMain(m *testing.M) { engine.Main(m) }

// house is a control plane with reports.
type house struct {
	enginetest.Plane

	server *aibridgedserver.Server
	db     aibridgedserver.Database
	path   string
}

func newHouse(tb testing.TB, overrides ...prices.Override) house {
	tb.Helper()
	return openHouse(tb, filepath.Join(tb.TempDir(), "control.db"), overrides...)
}

func openHouse(tb testing.TB, path string, overrides ...prices.Override) house {
	tb.Helper()
	plane := engine.OpenPlane(tb, path, overrides...)
	return house{plane, plane.Server, plane.DB, path}
}

// user makes a user and returns the id.
func (h house) user(tb testing.TB, name string) string {
	tb.Helper()
	_, key, err := h.server.CreateToken(tb.Context(), aibridgedserver.TokenParams{Username: name})
	if err != nil {
		tb.Fatal(err)
	}
	return key.UserID
}

// store stores records and derives from them.
func (h house) store(tb testing.TB, records ...*proto.Record) {
	tb.Helper()
	h.Record(tb, records...)
	h.DigestAll(tb)
}

func (h house) digest(tb testing.TB) {
	tb.Helper()
	h.DigestAll(tb)
}

// fill stores made up interceptions.
func (h house) fill(tb testing.TB, o recordgen.Options) {
	tb.Helper()
	var batch []*proto.Record
	for records := range recordgen.Batches(o) {
		if batch = append(batch, records...); len(batch) > 1000 {
			h.Record(tb, batch...)
			batch = nil
		}
	}
	h.Record(tb, batch...)
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// shot is an interception for tests: what is not set is usual.
type shot struct {
	id, user, session, answers, prompt, model, errorType string
	kind                                                 string // Of the provider.
	at                                                   time.Time
	tokens                                               *proto.RecordTokenUsageRequest // Nil: 1000 in, 100 out.
	unused                                               bool                           // It has no token usage.
	calls                                                []string                       // Ids of tool calls.
	start                                                func(*proto.RecordInterceptionRequest)
	running                                              bool
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (s shot) records() []*proto.Record {
	if s.id == "" {
		s.id = newID()
	}
	if s.at.IsZero() {
		s.at = noon
	}
	if s.model == "" {
		s.model = "claude-opus-4-5"
	}
	if s.kind == "" {
		s.kind = "anthropic"
	}
	start := &proto.RecordInterceptionRequest{
		Id: s.id, InitiatorId: s.user, Provider: s.kind, ProviderName: s.kind, Model: s.model, Client: "Claude Code", StartedAt: timestamppb.New(s.at),
		CredentialKind: "centralized",
	}
	if s.session != "" {
		start.ClientSessionId = &s.session
	}
	if s.answers != "" {
		start.CorrelatingToolCallId = &s.answers
	}
	if s.start != nil {
		s.start(start)
	}
	all := []*proto.Record{{Record: &proto.Record_Interception{Interception: start}}}
	if s.prompt != "" {
		all = append(all, &proto.Record{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
			InterceptionId: s.id, RecordId: newID(), Prompt: s.prompt, CreatedAt: timestamppb.New(s.at),
		}}})
	}
	if s.tokens == nil {
		s.tokens = &proto.RecordTokenUsageRequest{InputTokens: 1000, OutputTokens: 100}
	}
	s.tokens.InterceptionId, s.tokens.RecordId, s.tokens.CreatedAt = s.id, newID(), timestamppb.New(s.at.Add(time.Second))
	if !s.unused {
		all = append(all, &proto.Record{Record: &proto.Record_TokenUsage{TokenUsage: s.tokens}})
	}
	for _, id := range s.calls {
		all = append(all, &proto.Record{Record: &proto.Record_ToolUsage{ToolUsage: &proto.RecordToolUsageRequest{
			InterceptionId: s.id, RecordId: newID(), Tool: "Bash", ToolCallId: id, Input: `{"command":"ls"}`, CreatedAt: timestamppb.New(s.at.Add(time.Second)),
		}}})
	}
	if s.running {
		return all
	}
	end := &proto.RecordInterceptionEndedRequest{
		Id: s.id, RecordId: newID(), EndedAt: timestamppb.New(s.at.Add(2 * time.Second)), FirstByteMicros: 300_000, ResponseBytes: 3000,
	}
	if s.errorType != "" {
		end.ErrorType = &s.errorType
	}
	return append(all, &proto.Record{Record: &proto.Record_InterceptionEnded{InterceptionEnded: end}})
}

// around is a range about noon.
var around = reports.Range{From: noon.Add(-48 * time.Hour), To: noon.Add(48 * time.Hour)}
