package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/budget"
	"github.com/coder/aibridged/proto"
)

// budgetServer is a control plane that lets requests in by a function.
type budgetServer struct {
	aibridged.DRPCServer

	reserve func(*proto.ReserveRequest) (*proto.ReserveResponse, error)
}

func (b budgetServer) Reserve(_ context.Context, in *proto.ReserveRequest) (*proto.ReserveResponse, error) {
	return b.reserve(in)
}

// connectedBudgets returns budgets that a server has, until the end of the test.
func connectedBudgets(t *testing.T, server aibridged.DRPCServer) *sharedBudgets {
	t.Helper()
	client := clientOf(t, server)
	s := newSharedBudgets(slog.Logger{})
	t.Cleanup(s.close)
	s.connected(client)
	return s
}

// until waits until something holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*soon {
			t.Fatalf("never: %s", what)
		}
	}
}

func asks(user, model string, tokens int64) aibridge.BudgetRequest {
	return aibridge.BudgetRequest{
		InterceptionID: uuid.New(), UserID: user, StartedAt: time.Now(), Provider: "anthropic", ProviderName: "main", Model: model, Bytes: 4, MaxTokens: tokens,
		ServiceTier: "standard", Answers: 1, Credential: aibridge.CredentialBYOK,
	}
}

func tokensUsed(output int64) aibridge.BudgetEnding {
	return aibridge.BudgetEnding{Usages: []*aibridge.TokenUsage{{InputTokens: 1, OutputTokens: output, Metadata: aibridge.Metadata{"model": "m"}}}, Delivered: 7}
}

// Where a control plane knows no budgets, or says that nobody has one, requests do not ask.
func TestSharedBudgetsThatAreNone(t *testing.T) {
	var asked atomic.Int64
	for name, server := range map[string]aibridged.DRPCServer{
		"nobody": budgetServer{nothing{}, func(in *proto.ReserveRequest) (*proto.ReserveResponse, error) {
			if in.GetUserId() != "" {
				asked.Add(1)
			}
			return &proto.ReserveResponse{None: true}, nil
		}},
		"an older one": nothing{},
	} {
		s := connectedBudgets(t, server)
		if end, err := s.Reserve(t.Context(), asks("ada", "m", 1)); end != nil || err != nil {
			t.Errorf("%s: %v", name, err)
		}
		until(t, name+" has budgets", func() bool { return !s.Any() })
	}
	if asked.Load() > 1 {
		t.Errorf("it was asked %d times", asked.Load())
	}
}

// A request asks with all that decides what it may cost, is refused with what the control plane says, and tells what it used.
func TestSharedBudgetsAsk(t *testing.T) {
	var mu sync.Mutex
	var calls []*proto.ReserveRequest // Guarded by mu.
	s := connectedBudgets(t, budgetServer{nothing{}, func(in *proto.ReserveRequest) (*proto.ReserveResponse, error) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, in)
		switch in.GetUserId() {
		case "spent":
			return &proto.ReserveResponse{Refusal: "budget_spent", Text: "it is spent", WaitMillis: 61_500, Spent: true}, nil
		case "free":
			return &proto.ReserveResponse{Unlimited: true}, nil
		}
		return &proto.ReserveResponse{Leases: []*proto.BudgetLease{{Budget: "b", Amount: 10}}, LeaseMillis: 60_000, Rates: []*proto.BudgetRate{{Output: 1}}}, nil
	}})
	_, err := s.Reserve(t.Context(), asks("spent", "m", 1))
	refusal, ok := errors.AsType[*aibridge.BudgetRefusal](err)
	if !ok || *refusal != (aibridge.BudgetRefusal{Limit: "budget_spent", Text: "it is spent", RetryAfter: 61_500 * time.Millisecond, Spent: true}) {
		t.Errorf("%+v", err)
	}
	if knownReason("of another version") != "budget_held" {
		t.Error("metrics have labels that a control plane chooses")
	}
	if end, err := s.Reserve(t.Context(), asks("free", "m", 1)); end != nil || err != nil {
		t.Error(err)
	}
	request := asks("ada", "claude", 77)
	end, err := s.Reserve(t.Context(), request)
	check(t, err)
	end(tokensUsed(9))
	until(t, "it is told", func() bool {
		mu.Lock()
		defer mu.Unlock()
		i := slices.IndexFunc(calls, func(in *proto.ReserveRequest) bool { return len(in.GetEnded()) > 0 })
		if i < 0 {
			return false
		}
		asked := calls[slices.IndexFunc(calls, func(in *proto.ReserveRequest) bool { return in.GetUserId() == "ada" })]
		if got, err := requestOf(asked); err != nil || got.Started.Sub(request.StartedAt).Abs() > time.Microsecond {
			t.Errorf("%+v, %v", got, err)
		} else if want := budgetRequest(request); true {
			if want.Started = got.Started; got != want {
				t.Errorf("asked %+v, want %+v", got, want)
			}
		}
		told := calls[i].GetEnded()[0]
		if told.GetRequest() != asked.GetRequest() || calls[i].GetGatewayId() != asked.GetGatewayId() || fmt.Sprint(endingOf(told)) != fmt.Sprint(budgetEnding(tokensUsed(9))) {
			t.Errorf("told %v", told)
		}
		return true
	})
}

// Point 14: while the control plane cannot be asked, who is known to have no budget goes on, and of a budget the gateway spends what
// it has leased and then refuses, as held.
func TestSharedBudgetsSpendTheirLease(t *testing.T) {
	var failing atomic.Bool
	s := connectedBudgets(t, budgetServer{nothing{}, func(in *proto.ReserveRequest) (*proto.ReserveResponse, error) {
		if failing.Load() {
			return nil, errors.New("no")
		}
		switch in.GetUserId() {
		case "rich":
			return &proto.ReserveResponse{Unlimited: true}, nil
		case "":
			return &proto.ReserveResponse{}, nil
		}
		answer := &proto.ReserveResponse{Leases: []*proto.BudgetLease{{Budget: `user "ada"`, Amount: 10}}, LeaseMillis: 60_000, Rates: []*proto.BudgetRate{{Output: 1}}}
		if in.GetModel() == "free" {
			answer.Leases, answer.Rates = nil, []*proto.BudgetRate{{}}
		}
		return answer, nil
	}})
	for _, r := range []aibridge.BudgetRequest{asks("rich", "m", 1), asks("ada", "free", 1), asks("ada", "m", 1)} {
		if end, err := s.Reserve(t.Context(), r); err != nil {
			t.Fatal(err)
		} else if end != nil {
			end(tokensUsed(1))
		}
	}
	failing.Store(true)
	for _, r := range []aibridge.BudgetRequest{asks("rich", "other", 1000), asks("ada", "free", 1000)} {
		if end, err := s.Reserve(t.Context(), r); end != nil || err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	mustRefuse := func(r aibridge.BudgetRequest) {
		t.Helper()
		_, err := s.Reserve(t.Context(), r)
		refusal, ok := errors.AsType[*aibridge.BudgetRefusal](err)
		if !ok || refusal.Spent || refusal.RetryAfter < 5*time.Second || refusal.RetryAfter > time.Minute || !strings.Contains(refusal.Text, "the control plane cannot be asked") ||
			!slices.Contains(refusalLimits(), refusal.Limit) {
			t.Errorf("%+v: %+v", r, err)
		}
	}
	mustRefuse(asks("nobody-knows", "m", 1))
	mustRefuse(asks("ada", "another", 1))
	mustRefuse(asks("ada", "m", 11))
	first, err := s.Reserve(t.Context(), asks("ada", "m", 7))
	check(t, err)
	mustRefuse(asks("ada", "m", 4))
	second, err := s.Reserve(t.Context(), asks("ada", "m", 3))
	check(t, err)
	first(tokensUsed(2))
	second(aibridge.BudgetEnding{Unmeasured: true})
	mustRefuse(asks("ada", "m", 6))
	third, err := s.Reserve(t.Context(), asks("ada", "m", 5))
	check(t, err)
	third(aibridge.BudgetEnding{})
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := s.Reserve(gone, asks("ada", "m", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("who has left: %v", err)
	}
	failing.Store(false)
	until(t, "all is told", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.ended) == 0
	})
}

// refusalLimits are all values that the metric of refusals has for budgets.
func refusalLimits() []string {
	limits := []string{"budget_unreachable"}
	for _, reason := range budget.Reasons() {
		limits = append(limits, string(reason))
	}
	return limits
}

// A lease ends, and what a gateway remembers is bounded.
func TestBudgetLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBudgetLeases()
		answer := &proto.ReserveResponse{Leases: []*proto.BudgetLease{{Budget: "b", Amount: 10}}, LeaseMillis: 60_000, Rates: []*proto.BudgetRate{{Output: 1}}}
		l.take(asks("ada", "m", 1), answer, time.Now())
		if back, err := l.spend(asks("ada", "m", 10), time.Now()); err != nil {
			t.Error(err)
		} else {
			back(aibridge.BudgetEnding{})
		}
		time.Sleep(time.Minute)
		if _, err := l.spend(asks("ada", "m", 1), time.Now()); err == nil {
			t.Error("the lease has not ended")
		}
		for n := range mostKnownUsers + 10 {
			answer.Leases[0].Budget = fmt.Sprint(n)
			l.take(asks(fmt.Sprint(n), fmt.Sprint("m", n), 1), answer, time.Now())
		}
		if len(l.users) > mostKnownUsers || len(l.rates) > mostKnownRates || len(l.leases) > mostKnownLeases {
			t.Errorf("%d users, %d rates, %d leases", len(l.users), len(l.rates), len(l.leases))
		}
	})
	s := &sharedBudgets{reporter: newReporter()}
	for n := range mostEnded + 10 {
		s.keep(&proto.EndedRequest{Request: int64(n), Usages: []*proto.UsedTokens{{Metadata: strings.Repeat("x", 1000)}}})
	}
	if len(s.ended) != mostEnded {
		t.Errorf("%d are kept", len(s.ended))
	}
	if told := s.takeEnded(); len(told) < 500 || len(told) > 1100 || told[0].GetRequest() != 10 || len(s.ended) != mostEnded-len(told) || len(s.reporter.wake) != 1 {
		t.Errorf("%d are told", len(told))
	}
}

// A call of a gateway that makes no sense fails, and changes nothing.
func TestBudgetsServiceRefuses(t *testing.T) {
	ledger := budget.NewLedger(nil, budget.Options{})
	ledger.SetBudgets([]budget.Budget{{Subject: budget.Subject{Kind: budget.User, ID: "ada"}, Period: "day", Limit: 1}})
	service := budgetsService{ledger}
	for name, in := range map[string]*proto.ReserveRequest{
		"no gateway":      {UserId: "ada"},
		"a long gateway":  {GatewayId: strings.Repeat("x", 65), UserId: "ada"},
		"no interception": {GatewayId: "a", UserId: "ada"},
		"no start":        {GatewayId: "a", UserId: "ada", InterceptionId: uuid.NewString()},
	} {
		if answer, err := service.Reserve(t.Context(), in); err == nil {
			t.Errorf("%s: %v", name, answer)
		}
	}
	if answer, err := service.Reserve(t.Context(), &proto.ReserveRequest{GatewayId: "a", Ended: []*proto.EndedRequest{{Request: 7}, {}}}); err != nil || answer.GetNone() {
		t.Errorf("%v, %v", answer, err)
	}
}

// Two gateways share the budgets of one control plane: what one holds, the other cannot spend, and what one has spent is spent at
// both. A budget that is set while they run counts soon.
func TestBudgetsOfSeveralGateways(t *testing.T) {
	t.Run("SQLite", testBudgetsOfSeveralGateways)
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Setenv(databaseVariable, newPostgres(t).Address("postgres"))
		testBudgetsOfSeveralGateways(t)
	})
}

func testBudgetsOfSeveralGateways(t *testing.T) {
	upstream, a := newCannedUpstream(t), newApart(t)
	a.startControl(t, configFile(t, providerText("main", upstream.URL)+
		"- {name: gone, type: anthropic, base_url: 'http://127.0.0.1:1', keys: ['${TEST_KEY}']}\nprices:\n- {model: m, input: 100000, output: 100000}\n"))
	b := &apart{served: served{data: a.data}, control: a.control, gatewayData: t.TempDir()}
	token := newToken(t, a.data)
	others := strings.TrimSpace(a.must(t, "", "token", "create", "--user", "bob"))
	for _, one := range []*apart{a, b} {
		one.startGateway(t)
		one.becomes(t, 200, "ready")
	}
	body := `{"model":"m","max_tokens":30,"messages":[{"role":"user","content":"Hello"}]}` // Each costs 1.20 dollars, and may cost 5.
	a.must(t, "", "budget", "set", "--user", "ada", "--limit", "5.70", "--per", "month")
	a.must(t, "", "budget", "set", "--group", "nobody", "--limit", "1", "--per", "day")
	noPrice := strings.Replace(body, `"m"`, `"nobody-knows"`, 1)
	for _, one := range []*apart{a, b} {
		var got answered
		until(t, "the budget counts", func() bool { // Until then, it fails and costs nothing.
			got = one.sends(t, "/gone/v1/messages", token, noPrice)
			return got.status == 429
		})
		if got.wait < 61*time.Second || !strings.Contains(got.body, "has no known price") {
			t.Errorf("%+v", got)
		}
	}
	waiting := make(chan answered)
	go func() { waiting <- a.sends(t, "/main/v1/messages", token, strings.Replace(body, "Hello", "wait", 1)) }()
	<-upstream.arrived
	held := b.sends(t, "/main/v1/messages", token, body)
	if kind, _, message := errorOf(t, held.body); held.status != 429 || kind != "rate_limit_error" || held.wait > time.Minute || held.wait < 5*time.Second ||
		!strings.Contains(message, `the budget of user "ada" is held for requests that are running`) {
		t.Errorf("%+v", held)
	}
	if got := b.sends(t, "/main/v1/messages", others, body); got.status != 200 {
		t.Errorf("who has no budget: %+v", got)
	}
	close(upstream.release)
	if got := <-waiting; got.status != 200 {
		t.Errorf("%+v", got)
	}
	for range 3 { // One after another at one gateway, each of which has to know that the one before has ended.
		if got := a.sends(t, "/main/v1/messages", token, body); got.status != 200 {
			t.Errorf("%+v", got)
		}
	}
	for _, one := range []*apart{b, a} {
		spent := one.becomesRefused(t, "/main/v1/messages", token, body)
		if _, _, message := errorOf(t, spent.body); spent.status != 429 || spent.wait < 61*time.Second || !strings.Contains(message, `the budget of user "ada" is spent: spent $6.00, held $0.`) {
			t.Errorf("%+v", spent)
		}
	}
	a.flushed(t)
	b.flushed(t)
	if out := a.must(t, "", "budget", "list", "--user", "ada"); !strings.Contains(out, "user ada  $5.70  month  $6.0000  105 %") {
		t.Errorf("%s", out)
	}
	a.must(t, "", "budget", "set", "--user", "ada", "--limit", "100", "--per", "month")
	b.becomesAllowed(t, "/main/v1/messages", token, body)
	a.must(t, "", "budget", "remove", "--user", "ada")
	a.becomesAllowed(t, "/main/v1/messages", token, noPrice)
}
