package console_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/console"
	"github.com/coder/aibridged/internal/enginetest"
	"github.com/coder/aibridged/proto"
)

// engine is what the tests run on.
var engine = enginetest.New()

func TestMain(m *testing.M) { engine.Main(m) }

// house is a control plane with a console.
type house struct {
	*console.Console

	plane  enginetest.Plane
	of     *reports.Reports
	server *aibridgedserver.Server
	live   *liveList
}

// quarterHeld says that each budget holds a quarter of a dollar.
func quarterHeld(aibridgedserver.BudgetKind, string) decimal.Decimal { return decimal.New(25, -2) }

func newHouse(t *testing.T) house {
	t.Helper()
	plane := engine.OpenPlane(t, filepath.Join(t.TempDir(), "control.db"))
	h := house{plane: plane, of: plane.Reports, server: plane.Server, live: &liveList{}}
	var err error
	h.Console, err = console.New(h.of, h.server, console.Options{Live: h.live, Exchanges: keptText{}, Held: quarterHeld, Health: func(context.Context) console.Health {
		return console.Health{
			Providers: []console.ProviderHealth{{Name: "anthropic", Type: "anthropic", State: "ready"}},
			Keys:      []console.KeyHealth{{Provider: "anthropic", Hint: "sk-a...wxyz", State: "limited", Until: time.Unix(2_000_000_000, 0), Models: []string{"m"}}},
			Figures:   []console.Figure{{Name: "Records that wait", Value: "7"}},
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// liveList is what runs in a test.
type liveList struct {
	requests []console.Request
	ended    []uint64
}

func (l *liveList) Running() []console.Request { return append([]console.Request{}, l.requests...) }

func (l *liveList) End(id uint64) bool {
	l.ended = append(l.ended, id)
	return true
}

// keptText has kept of each interception a request with its user agent, and a stream.
type keptText struct{}

func (keptText) Kept(_ context.Context, i *aibridgedserver.Interception) (console.Kept, error) {
	request, _ := json.Marshal(map[string]string{"prompt": i.UserAgent})
	stream := []byte("event: x\ndata: {\"a\":\"" + "1\"}\n\n" + i.UserAgent)
	return console.Kept{
		Verdict: "The records differ from the bytes.", Differences: []string{"model: recorded " + i.Model},
		Rounds: []console.Round{{
			Request: console.Body{Header: http.Header{"User-Agent": {i.UserAgent}}, Bytes: request, Plain: request}, Status: 200,
			Response: console.Body{Bytes: stream, Plain: stream},
		}},
	}, nil
}

// browser is a browser of somebody who has signed in, or of nobody.
type browser struct {
	console http.Handler
	cookie  string
}

// signIn returns the browser of a user who has signed in with a new token, and the token.
func (h house) signIn(t *testing.T, user string, admin bool) (browser, aibridgedserver.APIKey) {
	t.Helper()
	token, key, err := h.server.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: user, Admin: admin})
	if err != nil {
		t.Fatal(err)
	}
	w := browser{console: h}.post("sign-in", url.Values{"token": {token}, "zone": {"Asia/Kathmandu"}})
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		t.Fatalf("sign in: %d, %s", w.Code, w.Body)
	}
	return browser{h, w.Result().Cookies()[0].Value}, key
}

func (b browser) do(method, path string, body io.Reader, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/console/"+path, body)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if b.cookie != "" {
		r.AddCookie(&http.Cookie{Name: "aibridged_console", Value: b.cookie})
	}
	w := httptest.NewRecorder()
	b.console.ServeHTTP(w, r)
	return w
}

func (b browser) get(path string) *httptest.ResponseRecorder { return b.do(http.MethodGet, path, nil) }

func (b browser) post(path string, form url.Values, header ...string) *httptest.ResponseRecorder {
	header = append([]string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"}, header...)
	return b.do(http.MethodPost, path, strings.NewReader(form.Encode()), header...)
}

// page returns a page, which must be there.
func (b browser) page(t *testing.T, path string) string {
	t.Helper()
	w := b.get(path)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d\n%s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// secret returns the secret of the forms.
func (b browser) secret(t *testing.T) string {
	t.Helper()
	match := regexp.MustCompile(`name="secret" value="([^"]+)"`).FindStringSubmatch(b.page(t, ""))
	if match == nil {
		t.Fatal("no form has a secret")
	}
	return match[1]
}

// shot is an interception with a text in each of its fields.
type shot struct {
	user, session, prompt string
	text                  string // In all other fields. Empty: usual ones.
	agent, parent         string
	failed                bool
	id                    string
}

func (s shot) or(usual string) string {
	if s.text != "" {
		return s.text
	}
	return usual
}

// store stores interceptions that have just run, and derives from them.
func (h house) store(t *testing.T, shots ...shot) {
	t.Helper()
	var records []*proto.Record
	at := time.Now().Add(-time.Minute)
	for _, s := range shots {
		at = at.Add(100 * time.Millisecond)
		records = append(records, s.records(t, at)...)
	}
	h.plane.Record(t, records...)
	h.plane.DigestAll(t)
}

func (s shot) records(t *testing.T, at time.Time) []*proto.Record {
	t.Helper()
	metadata := func(pairs ...string) map[string]*anypb.Any {
		packed := map[string]*anypb.Any{}
		for i := 0; i < len(pairs); i += 2 {
			value, err := anypb.New(structpb.NewStringValue(pairs[i+1]))
			if err != nil {
				t.Fatal(err)
			}
			packed[pairs[i]] = value
		}
		return packed
	}
	told := metadata("service_tier", s.or("standard"))
	started := told
	if s.agent != "" {
		started = metadata("agent_id", s.agent, "parent_agent_id", s.parent, "agent_kind", s.or("worker"))
	}
	session, message := s.or(s.session), s.or("overloaded")
	begin := &proto.RecordInterceptionRequest{
		Id: s.id, InitiatorId: s.user, ApiKeyId: "abcdefghij", Provider: "anthropic", ProviderName: s.or("anthropic"), Model: s.or("claude-opus-4-5"),
		Client: s.or("Claude Code"), UserAgent: s.or("claude-cli/2"), ClientSessionId: &session, StartedAt: timestamppb.New(at),
		CredentialKind: "centralized", CredentialHint: "sk-a...wxyz", Metadata: started,
	}
	end := &proto.RecordInterceptionEndedRequest{
		Id: s.id, RecordId: newID(), EndedAt: timestamppb.New(at.Add(2 * time.Second)), FirstByteMicros: 300_000, ResponseBytes: 3000,
	}
	if s.failed || s.text != "" {
		end.ErrorType, end.ErrorMessage = &message, &message
	}
	return []*proto.Record{
		{Record: &proto.Record_Interception{Interception: begin}},
		{Record: &proto.Record_PromptUsage{PromptUsage: &proto.RecordPromptUsageRequest{
			InterceptionId: s.id, RecordId: newID(), Prompt: s.or(s.prompt), CreatedAt: timestamppb.New(at), Metadata: told,
		}}},
		{Record: &proto.Record_TokenUsage{TokenUsage: &proto.RecordTokenUsageRequest{
			InterceptionId: s.id, RecordId: newID(), InputTokens: 1000, OutputTokens: 100, CreatedAt: timestamppb.New(at), Metadata: told,
		}}},
		{Record: &proto.Record_ModelThought{ModelThought: &proto.RecordModelThoughtRequest{
			InterceptionId: s.id, RecordId: newID(), Content: s.or("I think"), CreatedAt: timestamppb.New(at), Metadata: told,
		}}},
		{Record: &proto.Record_ToolUsage{ToolUsage: &proto.RecordToolUsageRequest{
			InterceptionId: s.id, RecordId: newID(), Tool: s.or("Bash"), ToolCallId: s.or("call-" + s.id), Input: s.or(`{"command":"ls"}`),
			CreatedAt: timestamppb.New(at.Add(time.Second)), Metadata: told,
		}}},
		{Record: &proto.Record_InterceptionEnded{InterceptionEnded: end}},
	}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }
