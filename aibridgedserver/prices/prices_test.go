package prices_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver/prices"
)

func newBook(t *testing.T, overrides ...prices.Override) *prices.Book {
	t.Helper()
	book, err := prices.New(overrides)
	if err != nil {
		t.Fatal(err)
	}
	return book
}

var november = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func anthropic(model, metadata string) prices.Usage {
	return prices.Usage{Provider: prices.Provider{Type: "anthropic"}, Model: model, At: november, Metadata: []byte(metadata)}
}

func usd(text string) decimal.Decimal { return decimal.RequireFromString(text) }

// told returns what a test expects of a cost, as one text.
func told(c prices.Cost) string {
	var items []string
	for _, i := range c.Items {
		items = append(items, fmt.Sprintf("%s:%d:%s", i.Kind, i.Count, i.State))
	}
	return c.USD.String() + " " + strings.Join(items, " ")
}

// A prompt's size, cached tokens included, picks the price of all tokens of that request, and of no other.
func TestLongContextIsACliffForEachRequest(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	u := anthropic("claude-opus-4-6", "")
	u.At = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	u.Input, u.CacheRead, u.Output = 100_000, 50_000, 10
	one := book.Cost(u).USD
	u.Input, u.CacheRead, u.Output = 2*u.Input, 2*u.CacheRead, 2*u.Output
	if both := book.Cost(u).USD; !one.Equal(usd("0.52525")) || !both.Equal(usd("2.10075")) {
		t.Errorf("one costs %s, one of twice its size %s", one, both)
	}
}

// The split of cache writes counts only where it adds up.
func TestCacheWrites(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	for metadata, want := range map[string]string{
		`{"cache_ephemeral_5m_input":400,"cache_ephemeral_1h_input":600}`: "0.0085",
		`{"cache_ephemeral_5m_input":400,"cache_ephemeral_1h_input":500}`: "0.00625",
		`{"cache_ephemeral_5m_input":-1,"cache_ephemeral_1h_input":1001}`: "0.00625",
		`{}`:                 "0.00625",
		`{"cache_ttl":"5m"}`: "0.00625",
		`{"cache_ttl":"1h"}`: "0.01",
		`{"cache_ttl":"1h","cache_ephemeral_5m_input":1000}`: "0.00625",
	} {
		u := anthropic("claude-opus-4-5", metadata)
		u.CacheWrite = 1000
		if got := book.Cost(u).USD; !got.Equal(usd(want)) {
			t.Errorf("%s: %s, want %s", metadata, got, want)
		}
	}
	// Only the parts are told.
	u := anthropic("claude-opus-4-5", `{"cache_ephemeral_5m_input":400,"cache_ephemeral_1h_input":600}`)
	if got := book.Cost(u); !got.USD.Equal(usd("0.0085")) || got.HasUnknown() {
		t.Errorf("without a total: %+v", got)
	}
	// The request asked for both times, and the upstream does not tell which was how much.
	u = anthropic("claude-opus-4-5", `{"cache_ttl":"mixed"}`)
	u.CacheWrite = 1000
	if got := book.Cost(u); !got.USD.IsZero() || !got.HasUnknown() {
		t.Errorf("of two times: %+v", got)
	}
	// Where the table has no price for an hour, it is twice that of the input.
	u = anthropic("global.anthropic.claude-opus-4-5-20251101-v1:0", `{"cache_ttl":"1h"}`)
	u.Provider.Type, u.CacheWrite = "bedrock", 1000
	if got := book.Cost(u).USD; !got.Equal(usd("0.01")) {
		t.Errorf("an hour on Bedrock costs %s", got)
	}
}

// What an upstream says of how it served an answer multiplies the prices of tokens, and only those. What nobody knows the
// price of is unknown.
func TestFactors(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	for _, test := range []struct{ kind, model, metadata, want string }{
		{"anthropic", "claude-opus-4-5", `{"service_tier":"standard","inference_geo":"not_available"}`, "0.005"},
		{"anthropic", "claude-opus-4-5", `{"service_tier":"batch"}`, "0.0025"},
		{"anthropic", "claude-opus-4-5", `{"service_tier":"batch","inference_geo":"us"}`, "0.00275"},
		{"anthropic", "claude-opus-4-6", `{"speed":"fast"}`, "0.03"},
		{"anthropic", "claude-opus-4-8", `{"speed":"fast","service_tier":"BATCH"}`, "0.005"},
		{"openai", "gpt-5", `{"service_tier":"flex"}`, "0.000625"},
		{"openai", "gpt-5", `{"service_tier":"priority"}`, "0.0025"},
		{"openai", "gpt-4.1", `{"service_tier":"priority"}`, "0.0035"},
		{"openai", "gpt-5", `{"service_tier":"default"}`, "0.00125"},
		{"openai", "gpt-5", `{"service_tier":"gold"}`, "unknown"},
		{"anthropic", "claude-opus-4-5", `{"speed":"fast"}`, "unknown"},
		{"anthropic", "claude-opus-4-5", `{"inference_geo":"moon"}`, "unknown"},
		{"anthropic", "claude-opus-4-5", `{"service_tier":5}`, "0.005"},
	} {
		u := anthropic(test.model, test.metadata)
		u.Provider.Type, u.Input = test.kind, 1000
		cost := book.Cost(u)
		got := cost.USD.String()
		if cost.HasUnknown() {
			got = "unknown"
		}
		if got != test.want || got == "unknown" && (cost.UnknownTokens() != 1000 || len(cost.Notes) == 0) {
			t.Errorf("%s %s: %s %v, want %s", test.model, test.metadata, got, cost.Notes, test.want)
		}
	}
	u := anthropic("claude-opus-4-5", `{"service_tier":"batch","web_search_requests":3}`)
	if got := book.Cost(u).USD; !got.Equal(usd("0.03")) {
		t.Errorf("three searches in a batch cost %s", got)
	}
}

// The provider and the profile are part of what decides the price.
func TestProviders(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	for _, test := range []struct {
		provider    prices.Provider
		model, want string
	}{
		{prices.Provider{Type: "bedrock"}, "global.anthropic.claude-haiku-4-5-20251001-v1:0", "0.001"},
		{prices.Provider{Type: "bedrock"}, "us.anthropic.claude-haiku-4-5-20251001-v1:0", "0.0011"},
		{prices.Provider{Type: "bedrock"}, "anthropic.claude-haiku-4-5-20251001-v1:0", "0.0011"},
		{prices.Provider{Type: "anthropic"}, "claude-haiku-4-5-20251001", "0.001"},
		{prices.Provider{Type: "openai", BaseURL: "https://api.x.ai/v1"}, "grok-4.5", "0.002"},
		{prices.Provider{Type: "openai", BaseURL: "http://127.0.0.1:9/v1"}, "gpt-5", "0.00125"},
		{prices.Provider{Type: "openai-compat", BaseURL: "http://127.0.0.1:9/v1"}, "gpt-5", "0"},
		{prices.Provider{Type: "chatgpt"}, "gpt-5", "0"},
	} {
		cost := book.Cost(prices.Usage{Provider: test.provider, Model: test.model, At: november, Input: 1000})
		if !cost.USD.Equal(usd(test.want)) || cost.HasUnknown() != (test.want == "0") {
			t.Errorf("%v %s: %s by %q, want %s", test.provider, test.model, cost.USD, cost.Row, test.want)
		}
	}
}

// On Bedrock the profile that was asked for decides the price of the model that answered, which the answer names without it.
func TestProfileOfTheRequest(t *testing.T) {
	t.Parallel()
	book := newBook(t, prices.Override{Model: "eu.anthropic.claude-haiku-4-5", Prices: map[prices.Kind]decimal.Decimal{prices.Input: usd("7")}})
	const dated = "claude-haiku-4-5-20251001"
	for _, test := range []struct{ asked, answered, want string }{
		{"global.anthropic.claude-haiku-4-5-20251001-v1:0", dated, "0.001"},
		{"us.anthropic.claude-haiku-4-5-20251001-v1:0", dated, "0.0011"},
		{"anthropic.claude-haiku-4-5-20251001-v1:0", dated, "0.0011"},
		{"arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-haiku-4-5-20251001-v1:0", dated, "0.001"},
		{"arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2", dated, "0.0011"},
		{"GLOBAL.anthropic.claude-haiku-4-5-20251001-v1:0", dated, "0.001"},
		{"global.anthropic.claude-haiku-4-5-20251001-v1:0", "us.anthropic." + dated, "0.0011"},
		{"global.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-opus-4-5-20251101", "0.005"},
		{"global.anthropic.claude-haiku-4-5-20251001-v1:0", "unheard-of", "0.001"},
		{"eu.anthropic.claude-haiku-4-5-20251001-v1:0", dated, "0.007"},
		{"global.anthropic.claude-haiku-4-5-20251001-v1:0", "", "0.001"},
	} {
		u := prices.Usage{
			Provider: prices.Provider{Type: "bedrock"}, Model: test.asked, At: november, Input: 1000, Metadata: fmt.Appendf(nil, `{"model":%q}`, test.answered),
		}
		if cost := book.Cost(u); !cost.USD.Equal(usd(test.want)) || cost.HasUnknown() {
			t.Errorf("%q answers as %q: %s by %q, want %s", test.asked, test.answered, cost.USD, cost.Row, test.want)
		}
	}
	u := prices.Usage{
		Provider: prices.Provider{Type: "bedrock"}, Model: "haiku", At: november, Input: 1000,
		Metadata: fmt.Appendf(nil, `{"model":%q,"sent_model":"global.anthropic.claude-haiku-4-5-20251001-v1:0"}`, dated),
	}
	if cost := book.Cost(u); !cost.USD.Equal(usd("0.001")) {
		t.Errorf("as the configuration names it: %s by %q", cost.USD, cost.Row)
	}
}

// A cost names the row that it is from, and whether that row is this model's.
func TestRows(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	for _, test := range []struct {
		kind, model, row string
		exact            bool
	}{
		{"anthropic", "claude-opus-4-5", "anthropic/claude-opus-4-5", true},
		{"anthropic", "Claude-Opus-4-5-20251101", "anthropic/claude-opus-4-5", true},
		{"anthropic", "claude-opus-4-5@20251101", "anthropic/claude-opus-4-5", true},
		{"anthropic", "claude-3-7-sonnet-20250219", "anthropic/claude-3-7-sonnet-latest", true},
		{"anthropic", "claude-opus-4-5-turbo", "anthropic/claude-opus-4-5", false},
		{"anthropic", "claude-haiku-4-50", "anthropic/claude-haiku-4-5", false},
		{"openai", "gpt-4o-2024-11-20", "openai/gpt-4o", true},
		{"openai", "gpt-5-nano-secret", "openai/gpt-5-nano", false},
		{"openai", "unheard-of", "", false},
		{"bedrock", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "aws/regional.anthropic.claude-haiku-4-5-20251001-v1:0", true},
		{"azure", "claude-opus-4-5", "anthropic/claude-opus-4-5", true},
	} {
		cost := book.Cost(prices.Usage{Provider: prices.Provider{Type: test.kind}, Model: test.model, At: november, Input: 1})
		if cost.Row != test.row || cost.Exact != test.exact {
			t.Errorf("%s: row %q, exact %t; want %q, %t", test.model, cost.Row, cost.Exact, test.row, test.exact)
		}
	}
	// The model that answered counts. Where it has no price, the one that was asked for does.
	for _, models := range [][2]string{{"unheard-of", "claude-opus-4-5"}, {"claude-opus-4-5", "claude-haiku-4-5"}} {
		u := anthropic(models[1], fmt.Sprintf(`{"model":%q}`, models[0]))
		if cost := book.Cost(u); cost.Row != "anthropic/claude-opus-4-5" {
			t.Errorf("%q: row %q", models, cost.Row)
		}
	}
}

// Each kind of usage is priced, free or unknown. What is unknown has no cost, and is not free.
func TestStates(t *testing.T) {
	t.Parallel()
	book := newBook(t, prices.Override{Model: "gratis", Prices: map[prices.Kind]decimal.Decimal{prices.Input: {}, prices.Output: {}}})
	for _, test := range []struct{ model, metadata, want string }{
		{"claude-opus-4-5", `{"web_search_requests":1}`, "0.010077 input:10:priced cache_read:4:priced output:1:priced web_search:1:priced"},
		{"claude-3-haiku-20240307", `{"web_search_requests":1}`, "0.00000387 input:10:priced cache_read:4:priced output:1:priced web_search:1:unknown"},
		{"claude-opus-4-5", `{"web_fetch_requests":5,"code_execution_requests":2}`, "0.000077 input:10:priced cache_read:4:priced output:1:priced code_execution:2:unknown"},
		{"gratis", ``, "0 input:10:free cache_read:4:unknown output:1:free"},
		{"unheard-of", ``, "0 input:10:unknown cache_read:4:unknown output:1:unknown"},
		{"claude-opus-4-5", `{"advisor_input":7,"advisor_output":3,"image_gen_output":6}`, "0.000077 input:10:priced cache_read:4:priced output:1:priced image:6:unknown advice:10:unknown"},
		{"claude-opus-4-5", `{"compaction_input":100,"compaction_output":10}`, "0.000827 input:10:priced cache_read:4:priced output:1:priced input:100:priced output:10:priced"},
	} {
		u := anthropic(test.model, test.metadata)
		u.Input, u.CacheRead, u.Output = 10, 4, 1
		if got := told(book.Cost(u)); got != test.want {
			t.Errorf("%s %s:\n got %s\nwant %s", test.model, test.metadata, got, test.want)
		}
	}
}

// What the upstream says that an answer cost counts more than any price.
func TestReportedCosts(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	for _, test := range []struct {
		raw  string
		byok bool
		want string
	}{
		{`{"cost":0.00123}`, false, "0.00123"},
		{`{"cost":0}`, false, "0"},
		{`{"cost":"0.5"}`, false, "0.5"},
		{`{"cost":1.5e-7}`, false, "0.00000015"},
		{`{"cost":{"total_cost":0.006}}`, false, "0.006"},
		{`{"cost":0.01,"cost_details":{"upstream_inference_cost":0.2}}`, false, "0.01"},
		{`{"cost":0.01,"cost_details":{"upstream_inference_cost":0.2}}`, true, "0.21"},
		{`{"cost":0.01,"is_byok":true,"cost_details":{"upstream_inference_cost":0.2}}`, false, "0.21"},
		{`{"cost":0.01,"cost_details":{"upstream_inference_cost":null}}`, true, "0.01"},
		{`{"cost":0,"is_byok":true,"cost_details":{"upstream_inference_cost":null}}`, false, "0.005"}, // The vendor's part is not told.
		{`{"cost":0,"is_byok":true,"cost_details":{"upstream_inference_cost":0}}`, false, "0"},
		{`{"cost":-1}`, false, "0.005"},
		{`{"cost":null}`, false, "0.005"},
		{`{"cost":"free"}`, false, "0.005"},
		{`{"cost":1e900000000}`, false, "0.005"},
		{`{"cost":0.0`, false, "0.005"},
	} {
		u := anthropic("claude-opus-4-5", fmt.Sprintf(`{"raw":%q}`, test.raw))
		u.Input, u.BYOK = 1000, test.byok
		if got := book.Cost(u).USD; !got.Equal(usd(test.want)) {
			t.Errorf("%s: %s, want %s", test.raw, got, test.want)
		}
	}
}

// What the upstream takes is told, and not what the vendor takes from the caller.
func TestPartOfACost(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	for raw, isPart := range map[string]bool{
		`{"cost":0.01,"is_byok":true}`: true, `{"cost":0.01,"is_byok":true,"cost_details":{"upstream_inference_cost":null}}`: true,
		`{"cost":0.01,"is_byok":true,"cost_details":{"upstream_inference_cost":0}}`: false, `{"cost":0.01}`: false, `{"cost":0.01,"is_byok":false}`: false,
	} {
		cost := book.Cost(anthropic("claude-opus-4-5", fmt.Sprintf(`{"raw":%q}`, raw)))
		if !cost.USD.Equal(usd("0.01")) || cost.HasUnknown() != isPart {
			t.Errorf("%s: %+v", raw, cost)
		}
	}
}

// Prices of the configuration count on Bedrock, too: for the profile that was asked for, the name that clients have for it, and the model
// that answered.
func TestOverridesOnBedrock(t *testing.T) {
	t.Parallel()
	const id, answered = "us.anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5-20251101"
	for _, test := range []struct{ model, asked, sent, answered, want string }{
		{id, id, "", answered, "7"}, {"us.anthropic.claude-opus-4-5", id, "", answered, "7"}, {answered, id, "", answered, "7"},
		{"claude-opus-4-5", id, "", answered, "7"}, {"claude-opus*", id, "", answered, "7"}, {"ours", "ours", id, answered, "7"}, {id, "ours", id, answered, "7"},
		{"claude-opus-4-5", "ours", id, answered, "7"}, {"claude-opus-4-5", id, "", "us.anthropic." + answered, "7"}, {"claude-opus-4-5", id, "", "", "7"},
		{"eu.anthropic.claude-opus-4-5", id, "", answered, "5.5"}, {"claude-opus-4-1", id, "", answered, "5.5"},
	} {
		book := newBook(t, prices.Override{Model: test.model, Provider: "bedrock", Prices: map[prices.Kind]decimal.Decimal{prices.Input: usd("7")}})
		cost := book.Cost(prices.Usage{
			Provider: prices.Provider{Type: "bedrock"}, Model: test.asked, At: november, Input: 1_000_000,
			Metadata: fmt.Appendf(nil, `{"model":%q,"sent_model":%q}`, test.answered, test.sent),
		})
		if !cost.USD.Equal(usd(test.want)) {
			t.Errorf("%+v: %s by %q", test, cost.USD, cost.Row)
		}
	}
}

// A price holds from an instant on.
func TestInstants(t *testing.T) {
	t.Parallel()
	change := time.Date(2026, 7, 1, 13, 37, 0, 0, time.FixedZone("", 5*3600+45*60))
	book := newBook(t,
		prices.Override{Model: "local", Prices: map[prices.Kind]decimal.Decimal{prices.Input: usd("1")}},
		prices.Override{Model: "local", From: change, Prices: map[prices.Kind]decimal.Decimal{prices.Input: usd("2")}})
	for _, test := range []struct {
		model string
		at    time.Time
		want  string
	}{
		{"local", change.Add(-time.Microsecond), "0.001"},
		{"local", change, "0.002"},
		{"claude-opus-4-6", time.Date(2026, 3, 12, 23, 59, 59, 999, time.UTC), "0.002"},
		{"claude-opus-4-6", time.Date(2026, 3, 13, 1, 0, 0, 0, time.FixedZone("", 3600)), "0.001"},
	} {
		u := anthropic(test.model, "")
		u.At, u.Input = test.at, 1000
		if test.model != "local" {
			u.Input, u.CacheRead = 0, 200_001
			test.want = usd(test.want).Mul(usd("100.0005")).String()
		}
		if got := book.Cost(u).USD; !got.Equal(usd(test.want)) {
			t.Errorf("%s at %v: %s, want %s", test.model, test.at, got, test.want)
		}
	}
}

// The output of a cut stream is estimated from the bytes that came. Its input is as told.
func TestCutStreams(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	u := anthropic("claude-opus-4-5", `{"partial":true}`)
	u.Input, u.Output, u.Delivered = 1000, 3, 30_000
	cost := book.Cost(u)
	if !cost.Estimated || !cost.USD.Equal(usd("0.03")) || !cost.OutputUSD().Equal(usd("0.025")) {
		t.Errorf("%+v", cost)
	}
	u.Output, u.Delivered = 5000, 300
	if cost := book.Cost(u); !cost.OutputUSD().Equal(usd("0.125")) {
		t.Errorf("less than was told: %+v", cost)
	}
	u.Output, u.Delivered, u.Before = 3, 30_000, 400
	if cost := book.Cost(u); !cost.OutputUSD().Equal(usd("0.015")) {
		t.Errorf("behind another answer: %+v", cost)
	}
	u.Metadata = nil
	if cost := book.Cost(u); cost.Estimated {
		t.Errorf("a whole stream: %+v", cost)
	}
}

// What the configuration says counts more than the table, kind by kind.
func TestOverrides(t *testing.T) {
	t.Parallel()
	input := func(text string) map[prices.Kind]decimal.Decimal {
		return map[prices.Kind]decimal.Decimal{prices.Input: usd(text)}
	}
	book := newBook(t,
		prices.Override{Model: "claude-*", Prices: input("1")},
		prices.Override{Model: "claude-opus-4-5*", Prices: input("2")},
		prices.Override{Model: "claude-opus-4-5", Provider: "ours", Prices: input("3")},
		prices.Override{Model: "Mine", Prices: input("4"), LongContext: 100, Long: input("8"), Factors: map[string]decimal.Decimal{"gold": usd("1.5")}})
	for _, test := range []struct {
		provider, model, metadata string
		input                     int64
		want                      string
	}{
		{"main", "claude-haiku-4-5", "", 100, "0.000105"}, // The output is the table's.
		{"main", "claude-opus-4-5-20251101", "", 100, "0.000225"},
		{"main", "claude-opus-4-5", "", 100, "0.000225"},
		{"ours", "claude-opus-4-5", "", 100, "0.000325"},
		{"main", "mine", "", 100, "0.0004"},
		{"main", "mine", "", 101, "0.000808"},
		{"main", "mine", `{"service_tier":"gold"}`, 100, "0.0006"},
	} {
		u := anthropic(test.model, test.metadata)
		u.Provider.Name, u.Input, u.Output = test.provider, test.input, 1
		if got := book.Cost(u).USD; !got.Equal(usd(test.want)) {
			t.Errorf("%s/%s: %s, want %s", test.provider, test.model, got, test.want)
		}
	}
	// A price for a model is one for its dated versions, and for no other model.
	aliases := newBook(t,
		prices.Override{Model: "gpt-4o", Prices: input("1")},
		prices.Override{Model: "gpt-4o*", Provider: "openai", Prices: input("2")},
		prices.Override{Model: "gpt-4o-2024-11-20", Prices: input("3")},
		prices.Override{Model: "*", Prices: input("4")},
		prices.Override{Model: "x*", Provider: "openai", Prices: input("5")},
		prices.Override{Model: "x*", Provider: "us", Prices: input("6")})
	for model, want := range map[string]string{
		"gpt-4o": "1", "GPT-4o-2024-08-06": "1", "gpt-4o-latest": "1", "gpt-4o-2024-11-20": "3", "openai/gpt-4o-20241120": "3", "openai/gpt-4o": "1",
		"gpt-4o-mini": "2", "gpt-4o-mini-2024-07-18": "2", "gpt-4": "4", "x1": "6",
	} {
		cost := aliases.Cost(prices.Usage{Provider: prices.Provider{Name: "us", Type: "openai"}, Model: model, At: november, Input: 1_000_000})
		if !cost.USD.Equal(usd(want)) {
			t.Errorf("%s: %s by %q, want %s", model, cost.USD, cost.Row, want)
		}
	}
	// What a long prompt costs is told for a kind whose other price is the table's, or unknown.
	long := newBook(t,
		prices.Override{Model: "gemini-2.5-pro", LongContext: 500_000, Long: input("50")},
		prices.Override{Model: "lc", LongContext: 100, Long: input("50"), Prices: map[prices.Kind]decimal.Decimal{prices.Output: usd("1")}})
	for _, test := range []struct {
		model string
		input int64
		want  string
	}{
		{"gemini-2.5-pro", 100_000, "0.125"}, {"gemini-2.5-pro", 300_000, "0.75"}, {"gemini-2.5-pro", 600_000, "30"}, {"lc", 100, "unknown"}, {"lc", 101, "0.00505"},
	} {
		cost := long.Cost(prices.Usage{Provider: prices.Provider{Type: "google"}, Model: test.model, At: november, Input: test.input})
		if cost.HasUnknown() != (test.want == "unknown") || !cost.HasUnknown() && !cost.USD.Equal(usd(test.want)) {
			t.Errorf("%d tokens to %s: %+v, want %s", test.input, test.model, cost, test.want)
		}
	}
	if _, known := long.Rates(prices.Asked{Model: "lc", At: november}); known {
		t.Error("what a request to a model with a part of its prices costs is known")
	}
	for _, wrong := range []prices.Override{
		{}, {Model: "m", Prices: input("-1")}, {Model: "m", LongContext: 5}, {Model: "m", Long: input("1")},
		{Model: "m", Prices: map[prices.Kind]decimal.Decimal{"inptu": {}}}, {Model: "m", Factors: map[string]decimal.Decimal{"gold": {}}},
	} {
		if _, err := prices.New([]prices.Override{wrong}); err == nil {
			t.Errorf("%+v is accepted", wrong)
		}
	}
}

// Whatever an upstream says, a cost is computed, is not negative, and adds up.
func FuzzCost(f *testing.F) {
	f.Add(int64(1), int64(2), int64(3), int64(4), `{"raw":"{\"cost\":1}"}`)
	f.Add(int64(-1), int64(1)<<62, int64(1)<<62, int64(1)<<62, `{"partial":true,"prompt_audio":-5,"cache_ephemeral_5m_input":9223372036854775807}`)
	book, err := prices.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in, read, write, out int64, metadata string) {
		u := anthropic("claude-opus-4-5", metadata)
		u.Input, u.CacheRead, u.CacheWrite, u.Output = in, read, write, out
		cost := book.Cost(u)
		if cost.USD.IsNegative() {
			t.Errorf("%s", cost.USD)
		}
		if cost.Row == "upstream" {
			return
		}
		var all decimal.Decimal
		for _, item := range cost.Items {
			all = all.Add(item.USD)
			if item.Count < 0 || item.Count == 0 && item.State != prices.Unknown {
				t.Errorf("%+v", item)
			}
		}
		if !all.Equal(cost.USD) {
			t.Errorf("items of %s, sum %s", all, cost.USD)
		}
	})
}
