package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/proto"
)

// askedElsewhere is a control plane in this process whose budgets are asked over a connection.
type askedElsewhere struct {
	*plane

	budgets *sharedBudgets
}

func (a *askedElsewhere) asked() aibridge.Budgets { return a.budgets }

// Point 14, through the gateway, in all four formats: while its control plane cannot be asked about budgets, a gateway spends its
// lease and then refuses with a 429 that says so, never with a 5xx. Who is known to have no budget goes on.
func TestBudgetsWhileControlPlaneIsAway(t *testing.T) {
	var away atomic.Bool
	var ledger *budgetsService
	shared := connectedBudgets(t, budgetServer{nothing{}, func(in *proto.ReserveRequest) (*proto.ReserveResponse, error) {
		if away.Load() {
			return nil, errors.New("away")
		}
		return ledger.Reserve(context.Background(), in)
	}})
	llm := httptest.NewServer(fakellm.New(fakellm.Options{}))
	defer llm.Close()
	t.Setenv("TEST_KEY", "a-key-of-no-account")
	c := config{Providers: []providerConfig{
		{Name: "anthropic", Type: "anthropic", BaseURL: llm.URL, Keys: []keyConfig{{Key: "${TEST_KEY}"}}},
		{Name: "openai", Type: "openai", BaseURL: llm.URL + "/v1", Keys: []keyConfig{{Key: "${TEST_KEY}"}}},
		{Name: "vectors", Type: "openai", BaseURL: newVectors(t) + "/v1", Keys: []keyConfig{{Key: "${TEST_KEY}"}}},
	}}
	s := settings{dataDir: t.TempDir()}
	opened, err := openPlane(t.Context(), s, c, planeOptions{}, gatewayOptions{}.logger)
	check(t, err)
	ledger = &budgetsService{opened.budgets.ledger}
	tokens := map[string]string{}
	for _, user := range []string{"ada", "rich", "new"} {
		tokens[user], _, err = opened.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: user})
		check(t, err)
	}
	for _, user := range []string{"ada", "new"} {
		check(t, opened.SetBudget(t.Context(), aibridgedserver.Budget{Kind: "user", Name: user, Period: "month", Limit: 100 * 1_000_000_000_000}))
	}
	check(t, opened.budgets.look(t.Context(), true))
	g, err := makeGateway(t.Context(), s, c, gatewayOptions{}, func(g *gateway) error {
		g.plane, g.control = opened, &askedElsewhere{opened, shared}
		return nil
	})
	check(t, err)
	server := httptest.NewServer(g.http.Handler)
	defer func() {
		server.Close()
		if err := g.close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	at := served{base: server.URL}
	for format, way := range budgetWays() {
		cheap := strings.NewReplacer("64000", "100", "16000", "100", "50000", "100", "125000", "100", `"stream":%t,`, "").Replace(way.body)
		dear := strings.Replace(way.body, `"stream":%t,`, "", 1)
		away.Store(false)
		for _, user := range []string{"ada", "rich"} {
			if got := at.sends(t, way.path, tokens[user], cheap); got.status != 200 {
				t.Fatalf("%s: %+v", format, got)
			}
		}
		away.Store(true)
		if got := at.sends(t, way.path, tokens["ada"], cheap); got.status != 200 {
			t.Errorf("%s: of a lease: %+v", format, got)
		}
		if got := at.sends(t, way.path, tokens["rich"], dear); got.status != 200 {
			t.Errorf("%s: who has no budget: %+v", format, got)
		}
		for _, stream := range []bool{false, true} {
			body := cheap
			if stream && format != "embeddings" {
				body = strings.Replace(cheap, "{", `{"stream":true,`, 1)
			}
			got := at.sends(t, way.path, tokens["new"], body)
			if kind, code, message := errorOf(t, got.body); got.status != 429 || got.wait < 5*time.Second || got.wait > time.Minute || kind != "rate_limit_error" ||
				format != "messages" && code != "rate_limit_exceeded" || !strings.Contains(message, "the control plane cannot be asked") {
				t.Errorf("%s: beyond a lease: %+v", format, got)
			}
		}
	}
	way := budgetWays()["messages"]
	dear := strings.Replace(fmt.Sprintf(way.body, false), "50000", "500", 1) // It may cost 1.60 dollars, and costs a cent.
	allowed := 0
	for range 10 {
		if got := at.sends(t, way.path, tokens["ada"], dear); got.status == 200 {
			allowed++
		}
	}
	if allowed != 10 {
		t.Errorf("%d of 10 were let in, of a lease of nearly five dollars", allowed)
	}
}
