package prices_test

import (
	"strings"
	"testing"

	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver/prices"
)

// A tool that the upstream ran costs what the table or the configuration says, whether its calls are told in the usage, under
// whatever name, or only shown in the answer. What nobody knows the price of is unknown, and never 0.
func TestHostedTools(t *testing.T) {
	t.Parallel()
	own := prices.Override{Model: "own", Prices: map[prices.Kind]decimal.Decimal{
		prices.Input: usd("0"), prices.Output: usd("0"), prices.WebSearch: usd("5000"), prices.FileSearch: usd("7000"), prices.CodeExecution: usd("9000"),
	}}
	book := newBook(t, own)
	for name, test := range map[string]struct {
		model, raw string
		hosted     map[prices.Kind]int64
		want       string
	}{
		"in the answer":     {"own", "", map[prices.Kind]int64{prices.WebSearch: 1, prices.FileSearch: 1, prices.CodeExecution: 1}, "21 web_search:1:priced file_search:1:priced code_execution:1:priced"},
		"in chat's usage":   {"own", `{"server_tool_use":{"web_search_requests":2}}`, nil, "10 web_search:2:priced"},
		"told twice":        {"own", `{"server_tool_use":{"web_search_requests":2}}`, map[prices.Kind]int64{prices.WebSearch: 2}, "10 web_search:2:priced"},
		"of xAI":            {"own", `{"server_side_tool_usage_details":{"web_search_calls":1,"x_search_calls":0,"code_interpreter_calls":1,"mcp_calls":4}}`, nil, "14 web_search:1:priced code_execution:1:priced"},
		"told as none":      {"own", `{"server_tool_use":{"web_search_requests":0}}`, map[prices.Kind]int64{prices.WebSearch: 1}, "0 "},
		"half a search":     {"own", `{"server_tool_use":{"web_search_requests":1.5}}`, nil, "0 web_search:0:unknown"},
		"less than none":    {"own", `{"server_tool_use":{"web_search_requests":-1}}`, map[prices.Kind]int64{prices.WebSearch: 1}, "0 web_search:0:unknown"},
		"not told":          {"own", `{"server_tool_use":{"web_search_requests":null}}`, map[prices.Kind]int64{prices.WebSearch: 1}, "5 web_search:1:priced"},
		"free":              {"own", `{"server_tool_use":{"web_fetch_requests":2,"tool_search_requests":1}}`, nil, "0 "},
		"a new name":        {"own", `{"server_tool_use":{"zorp_requests":3}}`, nil, "0 hosted_tool:3:unknown"},
		"no price":          {"claude-3-haiku-20240307", "", map[prices.Kind]int64{prices.CodeExecution: 1}, "0 code_execution:1:unknown"},
		"listed":            {"claude-opus-4-5", "", map[prices.Kind]int64{prices.WebSearch: 3}, "0.03 web_search:3:priced"},
		"of no model":       {"nobody", "", map[prices.Kind]int64{prices.WebSearch: 3}, "0 web_search:3:unknown"},
		"a picture":         {"own", "", map[prices.Kind]int64{prices.ImageCall: 1}, "0 image_generation:1:unknown"},
		"a picture, told":   {"own", "", map[prices.Kind]int64{prices.ImageCall: 1}, "0 image:9:unknown"},
		"queries":           {"own", `{"num_search_queries":2}`, nil, "10 web_search:2:priced"},
		"queries, no price": {"nobody", `{"num_search_queries":2}`, nil, "0 "},
	} {
		metadata := `{"raw":` + quoted(strings.Replace(test.raw, "{", `{"input_tokens":0,`, 1)) + `}`
		if name == "a picture, told" {
			metadata = `{"image_gen_input":9}`
		}
		u := anthropic(test.model, metadata)
		u.Hosted = test.hosted
		if got := told(book.Cost(u)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func quoted(text string) string { return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"` }

// What stands in the place of a number of tokens and is none makes the price unknown, and so does what nobody believes.
func TestFiguresThatNobodyBelieves(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	for raw, want := range map[string]string{
		`{"input_tokens":1e30,"output_tokens":5}`:                           "input:0:unknown",
		`{"input_tokens":1.5}`:                                              "input:0:unknown",
		`{"input_tokens":-3}`:                                               "input:0:unknown",
		`{"prompt_tokens":"many","completion_tokens":[]}`:                   "input:0:unknown output:0:unknown",
		`{"input_tokens":5,"output_tokens":{"a_tokens":true}}`:              "input:0:unknown",
		`{"prompt_tokens_details":{"cached_tokens":-1},"prompt_tokens":10}`: "cache_read:0:unknown",
		`{"input_tokens":10,"output_tokens":"12","cache_read_input_tokens":null,"cache_creation":{"ephemeral_5m_input_tokens":0.0}}`: "",
		`{"input_tokens":1e3}`: "",
		`{}`:                   "input:0:unknown",
		`{"billed_units":{"units":3},"input_tokens":null}`: "input:0:unknown",
		`{"cost":1500000}`: "told_cost:0:unknown",
		`{"cost":1e12}`:    "told_cost:0:unknown",
		`no object`:        "input:0:unknown",
	} {
		cost := book.Cost(anthropic("claude-opus-4-5", `{"raw":`+quoted(raw)+`}`))
		if got := told(cost); got != "0 "+want || (want != "") != (len(cost.Notes) > 0) {
			t.Errorf("%s: %s %v, want %s", raw, got, cost.Notes, want)
		}
	}
	if cost := book.Cost(anthropic("claude-opus-4-5", `{"unaccounted_tokens":1500,"raw":"{\"total_tokens\":1500}"}`)); told(cost) != "0 unaccounted:1500:unknown" {
		t.Errorf("%s", told(cost))
	}
	u := anthropic("claude-opus-4-5", "")
	u.Input, u.Output = 2_000_000_000_000, 10
	if cost := book.Cost(u); told(cost) != "0.00025 input:2000000000000:unknown output:10:priced" || len(cost.Notes) == 0 {
		t.Errorf("%s %v", told(cost), cost.Notes)
	}
	u.Input = 999_000_000_000 // At $5 a million.
	if cost := book.Cost(u); !strings.HasPrefix(told(cost), "0.00025 input:999000000000:unknown") {
		t.Errorf("%s", told(cost))
	}
}

// Of an answer that was cut before its usage came, nobody knows what the prompt cost. The output is estimated.
func TestUnmetered(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	u := prices.Usage{Provider: prices.Provider{Type: "openai"}, Model: "gpt-4.1", At: november, Delivered: 25_000, Unmetered: true}
	cost := book.Cost(u)
	if told(cost) != "0.0008 input:0:unknown output:100:priced" || !cost.Estimated || !cost.HasUnknown() || cost.UnknownTokens() != 0 {
		t.Errorf("%s %+v", told(cost), cost)
	}
	u.Model = "our-own"
	if cost := book.Cost(u); told(cost) != "0 input:0:unknown output:100:unknown" {
		t.Errorf("%s", told(cost))
	}
}

// Claude on Vertex AI has Google's prices, and the names that APIs list models by are those of the models.
func TestNamesOfGoogle(t *testing.T) {
	t.Parallel()
	book := newBook(t, prices.Override{Model: "gemini-own", Prices: map[prices.Kind]decimal.Decimal{prices.Input: usd("7")}})
	for name, want := range map[string]string{
		"vertex claude-sonnet-4-5-20250929":                                 "google/claude-sonnet-4-5 0.003",
		"vertex claude-sonnet-4-5@20250929":                                 "google/claude-sonnet-4-5 0.003",
		"vertex claude-opus-4-6":                                            "google/claude-opus-4-6 0.005",
		"vertex claude-opus-4-5@20251101":                                   "anthropic/claude-opus-4-5 0.005",
		"vertex publishers/anthropic/models/claude-opus-4-6":                "google/claude-opus-4-6 0.005",
		"google gemini-2.5-pro":                                             "google/gemini-2.5-pro 0.00125",
		"google models/gemini-2.5-flash":                                    "google/gemini-2.5-flash 0.0003",
		"google google/gemini-2.5-pro":                                      "google/gemini-2.5-pro 0.00125",
		"google projects/p/locations/l/publishers/google/models/gemini-own": "config/gemini-own 0.007",
		"google models/gemini-own":                                          "config/gemini-own 0.007",
		"google models/":                                                    " 0",
		"openai my/gpt-4.1":                                                 " 0",
	} {
		kind, model, _ := strings.Cut(name, " ")
		u := anthropic(model, "")
		u.Provider.Type, u.Input = kind, 1000
		if cost := book.Cost(u); cost.Row+" "+cost.USD.String() != want || cost.Row != "" && !cost.Exact {
			t.Errorf("%s: %s %s, exactly %t, want %s", name, cost.Row, cost.USD, cost.Exact, want)
		}
	}
}

// Which calls the upstream itself ran is told by their ids.
func TestHostedKind(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		tool, callID, itemID string
		want                 prices.Kind
	}{
		{"web_search", "srvtoolu_1", "", prices.WebSearch}, {"web_search", "toolu_1", "", ""}, {"web_search", "", "", ""}, {"web_fetch", "srvtoolu_1", "", ""},
		{"bash_code_execution", "srvtoolu_1", "", prices.CodeExecution}, {"code_execution", "srvtoolu_1", "", prices.CodeExecution},
		{"tool_search_tool_bm25", "srvtoolu_1", "", ""}, {"zorp", "srvtoolu_1", "", prices.HostedTool}, {"zorp", "mcptoolu_1", "", ""},
		{"file_search_call", "", "fs_1", prices.FileSearch}, {"file_search_call", "call_1", "fs_1", ""}, {"zorp_call", "", "z_1", prices.HostedTool},
	} {
		if got := prices.HostedKind(test.tool, test.callID, test.itemID, ""); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}

// A round that told no usage has cost something.
func TestUntold(t *testing.T) {
	t.Parallel()
	cost := newBook(t).Cost(anthropic("claude-opus-4-5", `{"untold":true,"model":"claude-opus-4-5"}`))
	if !cost.HasUnknown() || !cost.USD.IsZero() || cost.Row != "anthropic/claude-opus-4-5" {
		t.Errorf("%+v", cost)
	}
}
