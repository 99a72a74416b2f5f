package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
)

// A sign-in ends an hour after the last look, and twelve hours after it began. There are never more than a number of them.
func TestVisits(t *testing.T) {
	t.Parallel()
	v, now := newVisits(), time.Now()
	value := v.add("key", time.UTC, now)
	for range 11 {
		if now = now.Add(time.Hour); v.find(value, now) == nil {
			t.Fatal("it ended although somebody looked")
		}
	}
	if now = now.Add(time.Hour + time.Second); v.find(value, now) != nil {
		t.Error("it lasts for more than twelve hours")
	}
	value = v.add("key", time.UTC, now)
	if v.find(value, now.Add(time.Hour+time.Second)) != nil || v.find(value, now) != nil {
		t.Error("it lasts although nobody looked")
	}
	first := v.add("key", time.UTC, now)
	second := v.add("key", time.UTC, now.Add(time.Second))
	for n := range mostVisits {
		v.add(fmt.Sprint(n), time.UTC, now.Add(2*time.Second))
	}
	if len(v.byKey) != mostVisits || v.find(first, now.Add(3*time.Second)) != nil || v.find(second, now.Add(3*time.Second)) != nil {
		t.Errorf("%d are signed in", len(v.byKey))
	}
	last := v.add("key", time.UTC, now.Add(3*time.Hour)) // All others are over.
	if len(v.byKey) != 1 || v.find(last, now.Add(3*time.Hour)) == nil {
		t.Errorf("%d are signed in", len(v.byKey))
	}
}

// outline returns the steps and agents of a turn as a text.
func outline(nodes []node) (text string) {
	for _, n := range nodes {
		if n.Step != nil {
			text += n.Step.InterceptionID
			continue
		}
		text += fmt.Sprintf("(%s:%s)", n.Agent.ID, outline(n.Agent.Nodes))
	}
	return text
}

// Sub-agents are branches where they were first seen, those of sub-agents within these, and no step is lost.
func TestBranches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		steps [][3]string // Its id, its agent and that one's parent.
		want  string
	}{
		"none":             {nil, ""},
		"no agents":        {[][3]string{{"1"}, {"2"}}, "12"},
		"one":              {[][3]string{{"1"}, {"2", "a"}, {"3"}, {"4", "a"}, {"5"}}, "1(a:24)35"},
		"beside":           {[][3]string{{"1", "a"}, {"2", "b"}, {"3", "a"}}, "(a:13)(b:2)"},
		"below":            {[][3]string{{"1", "a"}, {"2", "b", "a"}, {"3", "a"}, {"4"}}, "(a:1(b:2)3)4"},
		"below a later":    {[][3]string{{"1", "b", "a"}, {"2", "a"}}, "(a:(b:1)2)"},
		"of another turn":  {[][3]string{{"1", "b", "gone"}}, "(b:1)"},
		"its own parent":   {[][3]string{{"1", "a", "a"}, {"2", "a", "a"}}, "(a:12)"},
		"a circle":         {[][3]string{{"1", "a", "b"}, {"2", "b", "a"}}, "(a:1)(b:2)"},
		"a circle of many": {[][3]string{{"1", "a", "b"}, {"2", "b", "c"}, {"3", "c", "b"}, {"4"}}, "(a:1)(b:2)(c:3)4"},
	} {
		var steps []reports.Step
		for _, s := range test.steps {
			steps = append(steps, reports.Step{InterceptionID: s[0], AgentID: s[1], ParentAgentID: s[2], Figures: reports.Figures{Requests: 1}})
		}
		if got := outline(branches(steps)); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestFigureTexts(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"$1,234.50": money(usd("1234.5")), "$0.00": money(usd("0")), "$0.99": money(usd("0.99")), "$0.012": money(usd("0.012345")),
		"$0.0000012": money(usd("0.00000123")), "-$2.00": money(usd("-2")), "1,234,567": count(1234567), "-1,000": count(-1000), "12": count(12),
		"999": short(999), "1.5k": short(1500), "5.41G": short(5_410_000_000), "–": share(0, 0), "12.5 %": share(1, 8), "300ms": millis(300), "1.2s": millis(1234),
		"no price": costText(reports.Figures{Unpriced: 1}), "$1.00, and a part without a price": costText(reports.Figures{USD: usd("1"), Unpriced: 1}),
		"{\n  \"a\": 1\n}": pretty(`{"a":1}`), "a\uFFFDb\uFFFD\n": shown("a\x1bb\u202E\n"), "+50 %": change(usd("2"), usd("3")), "": change(usd("0"), usd("3")),
		"data: {\n  \"a\": 1\n}\n\nx": prettyBody([]byte("data: {\"a\":1}\n\nx")),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, cost := range map[string]prices.Cost{
		"$2.00": {USD: usd("2")}, "no price": {Items: []prices.Item{{State: prices.Unknown}}},
		"$2.00, and a part without a price, estimated": {USD: usd("2"), Estimated: true, Items: []prices.Item{{State: prices.Unknown}}},
	} {
		if got := priceText(cost); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, deep := range []string{strings.Repeat("[", 5000) + strings.Repeat("]", 5000), `{"a":` + strings.Repeat("[", 5000)} {
		if got := pretty(deep); got != deep {
			t.Errorf("%d bytes of nested JSON become %d", len(deep), len(got))
		}
	}
}

func usd(text string) decimal.Decimal { return decimal.RequireFromString(text) }
