package aibridge_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/mcp"
)

// oneBudget implements aibridge.Budgets, and keeps what it was told.
type oneBudget struct {
	asked   int
	endings []aibridge.BudgetEnding
}

func (*oneBudget) Any() bool { return true }

func (b *oneBudget) Reserve(context.Context, aibridge.BudgetRequest) (func(aibridge.BudgetEnding), error) {
	b.asked++
	return func(ending aibridge.BudgetEnding) { b.endings = append(b.endings, ending) }, nil
}

// asksBudget sends a request to a provider of a scripted upstream that has a budget, with a tool of the gateway.
func asksBudget(t *testing.T, target, body string, all ...string) (*oneBudget, *httptest.ResponseRecorder) {
	t.Helper()
	b := &oneBudget{}
	options := aibridge.ProviderOptions{Transport: &answers{all: all}, Key: "key", Admission: aibridge.NewAdmission(aibridge.AdmissionLimits{}).WithBudgets(b)}
	with := &tools{names: []string{"bmcp_docs_x"}, call: func(context.Context, string, json.RawMessage) (mcp.Result, error) { return found("x"), nil }}
	w := httptest.NewRecorder()
	bridge := acting(aibridge.NewRequestBridge(bothAPIs(t, options), &kept{}, aibridge.BridgeOptions{Tools: with}))
	bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(body)))
	return b, w
}

// A request whose model calls tools of the gateway is asked about once, and what all of its rounds used is told at its end.
func TestBudgetsOfSeveralRounds(t *testing.T) {
	for name, c := range map[string]struct{ body, first, last string }{
		"streamed": {askStreamed, streamed("msg_1", "call bmcp_docs_x t {}"), streamed("msg_2", "text b")},
		"blocking": {askBlocking, wholly("msg_1", "call bmcp_docs_x t {}"), wholly("msg_2", "text b")},
	} {
		b, w := asksBudget(t, "/a/v1/messages", c.body, c.first, c.last)
		if w.Code != 200 || b.asked != 1 || len(b.endings) != 1 || len(b.endings[0].Usages) != 2 || b.endings[0].Unmeasured {
			t.Fatalf("%s: status %d, asked %d times, told %+v", name, w.Code, b.asked, b.endings)
		}
		if first, last := b.endings[0].Usages[0], b.endings[0].Usages[1]; first.MessageID != "msg_1" || last.OutputTokens != 5 {
			t.Errorf("%s: %+v, %+v", name, first, last)
		}
	}
}

// Of a background response that goes on, nobody knows what it costs.
func TestBudgetsOfBackgroundResponses(t *testing.T) {
	b, w := asksBudget(t, "/o/v1/responses", `{"model":"m","background":true,"input":"hi"}`, `{"id":"resp_1","object":"response","status":"queued","background":true,"output":[]}`)
	if w.Code != 200 || len(b.endings) != 1 || !b.endings[0].Unmeasured || len(b.endings[0].Usages) != 0 {
		t.Errorf("status %d, told %+v", w.Code, b.endings)
	}
}
