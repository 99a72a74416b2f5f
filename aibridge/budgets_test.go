package aibridge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

// purse implements Budgets, and keeps what it was told.
type purse struct {
	nobody  bool  // Nobody has a budget.
	refuse  error // Nil: all requests are let in.
	holdsNo bool  // It holds nothing for those.

	mu      sync.Mutex
	asked   []BudgetRequest // Guarded by mu, like endings.
	endings []BudgetEnding
}

func (p *purse) Any() bool { return !p.nobody }

func (p *purse) Reserve(_ context.Context, request BudgetRequest) (end func(BudgetEnding), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, request)
	if p.refuse != nil || p.holdsNo {
		return nil, p.refuse
	}
	return func(ending BudgetEnding) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.endings = append(p.endings, ending)
	}, nil
}

// take returns what was asked and told so far, and forgets it.
func (p *purse) take() (asked []BudgetRequest, endings []BudgetEnding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, endings = p.asked, p.endings
	p.asked, p.endings = nil, nil
	return asked, endings
}

func withPurse(p *purse) *Admission { return NewAdmission(AdmissionLimits{}).WithBudgets(p) }

// with returns a body with further members.
func with(body, members string) string { return strings.Replace(body, "{", "{"+members+",", 1) }

// Points 12 and 13: a refusal of a budget is a 429 in the shape of each API, streamed or not, with Retry-After. Nothing goes upstream,
// nothing is recorded; it is counted each time and logged once a minute. What is spent is a quota in OpenAI's APIs.
func TestBudgetRefusals(t *testing.T) {
	for format, asked := range waysToAsk() {
		for _, spent := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				p := &purse{refuse: &BudgetRefusal{Limit: "budget_x", Text: `the budget of user "ada"`, RetryAfter: 90*time.Second - time.Millisecond, Spent: spent}}
				b := newResilient(t, ProviderOptions{Key: keyA, Admission: withPurse(p)}, func(string, *http.Request) said { return asked.fine() })
				for range 3 {
					w := b.send(asked.target, asked.body)
					kind := "rate_limit_error"
					wantCode := "rate_limit_exceeded"
					if spent {
						wantCode = "insufficient_quota"
					}
					var got struct {
						Error struct{ Type, Message, Code string }
					}
					if err := json.Unmarshal([]byte(asked.failureIn(t, w.Body.String())), &got); err != nil {
						t.Fatal(err)
					}
					if strings.Contains(asked.target, "openai") {
						if got.Error.Code != wantCode || spent && got.Error.Type != wantCode {
							t.Errorf("%s: %+v", format, got)
						}
					} else if got.Error.Type != kind {
						t.Errorf("%s: %+v", format, got)
					}
					if w.Code != 429 || w.Header().Get("Retry-After") != "90" || got.Error.Message != `the budget of user "ada"` ||
						!strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
						t.Errorf("%s: %d %v %s", format, w.Code, w.Header(), w.Body)
					}
				}
				if b.up.keys() != "" || b.ends.take() != "" {
					t.Errorf("%s: a refused request went upstream or was recorded", format)
				}
				if n := b.metric(t, "admission_refusals_total", "limit=budget_x"); n != 3 || strings.Count(b.log.String(), "\n") != 1 || !strings.Contains(b.log.String(), "budget_x") {
					t.Errorf("%s: %v are counted, logged %s", format, n, b.log.String())
				}
				b.send(asked.target, asked.body)
				time.Sleep(time.Minute)
				synctest.Wait()
				if !strings.Contains(b.log.String(), "refused=3") {
					t.Errorf("%s: at the end of the minute, logged %s", format, b.log.String())
				}
				p.take()
				if w := b.send("GET /openai/v1/models", ""); w.Code != 200 {
					t.Errorf("what is passed through got %d", w.Code)
				}
				if w := b.send("POST /anthropic/v1/messages/count_tokens", messagesBody); w.Code != 200 {
					t.Errorf("count_tokens got %d", w.Code)
				}
				if asked, _ := p.take(); len(asked) != 0 {
					t.Errorf("what is not recorded was asked about: %+v", asked)
				}
			})
		}
	}
}

// What each format's request says of its cost is told, and at the end what it used. What is told at the end has come before the
// client's last bytes.
func TestBudgetsAreTold(t *testing.T) {
	members := map[string]string{
		"chat": `"max_tokens":5,"max_completion_tokens":77,"n":3,"service_tier":"flex"`, "responses": `"max_output_tokens":77,"service_tier":"flex"`,
		"compact": `"service_tier":"flex"`, "embeddings": `"service_tier":"flex"`,
		"messages": `"service_tier":"flex","speed":"fast","inference_geo":"us"`,
	}
	for format, asked := range waysToAsk() {
		name, _, isStream := strings.Cut(format, ",")
		body := with(asked.body, members[name])
		p := &purse{}
		b := newResilient(t, ProviderOptions{Key: keyA, Admission: withPurse(p)}, func(string, *http.Request) said { return asked.fine() })
		if w := b.send(asked.target, body); w.Code != 200 {
			t.Fatalf("%s: status %d", format, w.Code)
		}
		requests, endings := p.take()
		if len(requests) != 1 || len(endings) != 1 {
			t.Fatalf("%s: asked %v, told %v", format, requests, endings)
		}
		got := requests[0]
		if got.InterceptionID == uuid.Nil || time.Since(got.StartedAt) > time.Minute || got.UserID != "ada" || got.Credential != CredentialCentralized || got.Bytes != int64(len(body)) {
			t.Errorf("%s: %+v", format, got)
		}
		want := BudgetRequest{Provider: "openai", ProviderName: "openai", Model: "gpt-x", ServiceTier: "flex"}
		switch name {
		case "messages":
			want = BudgetRequest{Provider: "anthropic", ProviderName: "anthropic", Model: "claude-x", MaxTokens: 9, ServiceTier: "flex", Speed: "fast", InferenceGeo: "us"}
		case "chat":
			want.MaxTokens, want.Answers = 77, 3
		case "responses":
			want.MaxTokens = 77
		case "embeddings":
			want.Wordless, want.Model = true, "e"
		}
		want.InterceptionID, want.UserID, want.StartedAt, want.Credential, want.Bytes = got.InterceptionID, got.UserID, got.StartedAt, got.Credential, got.Bytes
		if got != want {
			t.Errorf("%s: %+v, want %+v", format, got, want)
		}
		ending := endings[0]
		if format == "chat, streamed" { // It tells no usage.
			if !ending.Unmeasured || len(ending.Usages) != 0 {
				t.Errorf("%s: %+v", format, ending)
			}
			continue
		}
		if ending.Unmeasured || len(ending.Usages) != 1 || ending.Usages[0].InputTokens != 3 || ending.Delivered != int64(len(asked.answer)) {
			t.Errorf("%s, streamed %t: %+v", format, isStream, ending)
		}
	}
}

// However a request ends, it is told once. One that failed without a usage cost nothing, and one that was never sent does, too; of an
// answer that was cut, nobody knows.
func TestBudgetsAreToldOnce(t *testing.T) {
	asked := waysToAsk()["responses, streamed"]
	for name, c := range map[string]struct {
		end        said
		options    ProviderOptions
		unmeasured bool
	}{
		"refused by the upstream": {said{status: 400, body: "{}"}, ProviderOptions{Key: keyA}, false},
		"failed":                  {said{status: 500}, ProviderOptions{Key: keyA}, false},
		"unreached":               {said{}, ProviderOptions{Key: keyA}, false},
		"cut":                     {said{status: 200, header: http.Header{"Content-Type": {"text/event-stream"}}, body: asked.answer[:40], cut: true}, ProviderOptions{Key: keyA}, true},
		"a limited key":           {said{status: 429}, ProviderOptions{Keys: threeKeys()}, false},
	} {
		p := &purse{}
		c.options.Admission = withPurse(p)
		b := newResilient(t, c.options, func(string, *http.Request) said { return c.end })
		b.send(asked.target, asked.body)
		requests, endings := p.take()
		if len(requests) != 1 || len(endings) != 1 || endings[0].Unmeasured != c.unmeasured || len(endings[0].Usages) != 0 {
			t.Errorf("%s: asked %v, told %+v", name, requests, endings)
		}
	}
	for name, b := range map[string]func(*testing.T, *purse) *resilient{
		"no key": func(t *testing.T, p *purse) *resilient {
			return newResilient(t, ProviderOptions{Admission: withPurse(p)}, nil)
		},
		"no records": func(t *testing.T, p *purse) *resilient {
			b := newResilient(t, ProviderOptions{Key: keyA, Admission: withPurse(p)}, nil)
			b.RequestBridge.recorder = unwilling{}
			return b
		},
	} {
		p := &purse{}
		if w := b(t, p).send(asked.target, asked.body); w.Code == 200 {
			t.Errorf("%s: status %d", name, w.Code)
		}
		requests, endings := p.take()
		if len(requests) != len(endings) || len(endings) > 0 && (endings[0].Unmeasured || len(endings[0].Usages) > 0) {
			t.Errorf("%s: asked %v, told %+v", name, requests, endings)
		}
	}
}

// Of a request whose client leaves before the answer begins, nobody knows what it costs: the upstream may go on with it.
func TestBudgetsOfAClientThatLeaves(t *testing.T) {
	for format, asked := range waysToAsk() {
		ctx, cancel := context.WithCancel(t.Context())
		p := &purse{}
		b := newResilient(t, ProviderOptions{Key: keyA, Admission: withPurse(p)}, func(string, *http.Request) said {
			cancel()
			return said{}
		})
		method, path, _ := strings.Cut(asked.target, " ")
		r := httptest.NewRequestWithContext(AsActor(ctx, Actor{ID: "ada"}), method, path, strings.NewReader(asked.body))
		b.ServeHTTP(httptest.NewRecorder(), r)
		if _, endings := p.take(); len(endings) != 1 || !endings[0].Unmeasured || b.ends.take() != hintA+" client_closed" {
			t.Errorf("%s: told %+v", format, endings)
		}
	}
}

// unwilling is a Recorder that records nothing.
type unwilling struct{}

func (unwilling) Record(context.Context, ...Record) (Commit, error) { return nil, ErrNoRoom }

// The name of a model is told as it is recorded: cut, and storable.
func TestBudgetsAreToldNames(t *testing.T) {
	p := &purse{refuse: &BudgetRefusal{Limit: "budget_x", RetryAfter: time.Second}}
	b := newResilient(t, ProviderOptions{Key: keyA, Admission: withPurse(p)}, nil)
	b.send("POST /anthropic/v1/messages", strings.Replace(messagesBody, "claude-x", `\u0000`+strings.Repeat("x", 5000), 1))
	if asked, _ := p.take(); len(asked) != 1 || len(asked[0].Model) > longestName || strings.ContainsRune(asked[0].Model, 0) {
		t.Errorf("asked %v", asked)
	}
}

// Without a budget of anybody, nothing is asked, and if nothing is held, nothing is told.
func TestNoBudgets(t *testing.T) {
	asked := waysToAsk()["messages"]
	for name, p := range map[string]*purse{"nobody": {nobody: true}, "nothing held": {holdsNo: true}} {
		b := newResilient(t, ProviderOptions{Key: keyA, Admission: withPurse(p)}, func(string, *http.Request) said { return asked.fine() })
		if w := b.send(asked.target, asked.body); w.Code != 200 {
			t.Errorf("%s: status %d", name, w.Code)
		}
		if requests, endings := p.take(); len(requests) != 0 == p.nobody || len(endings) != 0 {
			t.Errorf("%s: asked %v, told %v", name, requests, endings)
		}
	}
	p := &purse{refuse: errors.New("the client has left")}
	b := newResilient(t, ProviderOptions{Key: keyA, Admission: withPurse(p)}, nil)
	if w := b.send(asked.target, asked.body); w.Code != 500 || b.up.keys() != "" {
		t.Errorf("status %d", w.Code)
	}
}
