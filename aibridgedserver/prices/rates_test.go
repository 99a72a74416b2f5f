package prices

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"
)

// What a request may cost before it is sent is what its tokens cost afterwards: by the size of its prompt, its provider, the
// tier that it asks for, the region's profile, and overrides.
func TestRates(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	usd := decimal.RequireFromString
	book, err := New([]Override{
		{Model: "own-*", Prices: map[Kind]decimal.Decimal{Input: usd("1"), Output: usd("2")}, LongContext: 1000, Long: map[Kind]decimal.Decimal{Output: usd("3")}},
		{Model: "free", Prices: map[Kind]decimal.Decimal{Input: usd("0"), Output: usd("0")}},
		{Model: "half", Prices: map[Kind]decimal.Decimal{Input: usd("1")}},
		{Model: "asked", Prices: map[Kind]decimal.Decimal{Input: usd("1"), Output: usd("1"), Request: usd("5")}},
		{Model: "thinks", Prices: map[Kind]decimal.Decimal{Input: usd("1"), Output: usd("1"), OutputReasoning: usd("4")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	anthropic, bedrock, openai := Provider{Type: "anthropic"}, Provider{Type: "bedrock"}, Provider{Type: "openai"}
	for name, a := range map[string]Asked{
		"claude":               {Provider: anthropic, Model: "claude-sonnet-4-20250514"},
		"bedrock, global":      {Provider: bedrock, Model: "global.anthropic.claude-sonnet-4-5-20250929-v1:0"},
		"bedrock, regional":    {Provider: bedrock, Model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
		"priority":             {Provider: openai, Model: "gpt-5", ServiceTier: "priority"},
		"flex":                 {Provider: openai, Model: "gpt-5", ServiceTier: "flex"},
		"auto":                 {Provider: openai, Model: "gpt-5", ServiceTier: "auto"},
		"fast":                 {Provider: anthropic, Model: "claude-opus-4-6", Speed: "fast"},
		"in the United States": {Provider: anthropic, Model: "claude-opus-4-6", InferenceGeo: "us"},
		"by the answer":        {Provider: Provider{Type: "openai", BaseURL: "https://api.anthropic.com"}, Model: "claude-opus-4-6"},
		"override":             {Provider: openai, Model: "own-model"},
		"request":              {Provider: openai, Model: "asked"},
	} {
		a.At = at
		rates, known := book.Rates(a)
		if !known || rates.Tiers[0].Above != 0 {
			t.Errorf("%s: %+v, %t", name, rates, known)
			continue
		}
		for _, size := range []int64{1, 1000, 1001, 200_000, 200_001, 500_000} {
			var rate Rate
			for _, tier := range rates.Tiers {
				if size > tier.Above {
					rate = tier
				}
			}
			meta := `{"service_tier":"` + a.ServiceTier + `","speed":"` + a.Speed + `","inference_geo":"` + a.InferenceGeo + `"}`
			cost := book.Cost(Usage{Provider: a.Provider, Model: a.Model, At: at, Input: size, Output: 100, Metadata: []byte(meta)})
			got := rate.Input.Mul(decimal.NewFromInt(size)).Add(rate.Output.Mul(decimal.NewFromInt(100))).Add(rates.Request)
			if !got.Equal(cost.USD) || cost.HasUnknown() || !got.IsPositive() {
				t.Errorf("%s with %d tokens: %s, but it costs %s", name, size, got, cost.USD)
			}
		}
	}
	for name, a := range map[string]Asked{
		"no price": {Model: "nobody-knows"}, "no name": {}, "no price of the answer": {Model: "half"}, "an unknown tier": {Provider: openai, Model: "gpt-5", ServiceTier: "gold"},
	} {
		a.At = at
		if rates, known := book.Rates(a); known {
			t.Errorf("%s: %+v", name, rates)
		}
	}
	if r, known := book.Rates(Asked{Model: "free", At: at}); !known || !r.Tiers[0].Input.IsZero() || !r.Tiers[0].Output.IsZero() {
		t.Errorf("free: %+v, %t", r, known)
	}
	if r, known := book.Rates(Asked{Model: "half", At: at, Wordless: true}); !known || !r.Tiers[0].Output.IsZero() {
		t.Errorf("without an answer: %+v, %t", r, known)
	}
	if _, known := book.Rates(Asked{Provider: openai, Model: "text-embedding-3-small", At: at, Wordless: true}); !known {
		t.Error("embeddings have no price")
	}
	if r, _ := book.Rates(Asked{Model: "thinks", At: at}); !r.Tiers[0].Output.Equal(usd("0.000004")) {
		t.Errorf("thoughts cost %s", r.Tiers[0].Output)
	}
}
