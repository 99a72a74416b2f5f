package budget

import (
	"math"
	"strings"
	"testing"
	"time"
)

// Amounts are shown in dollars, and no sum of them is too large.
func TestAmount(t *testing.T) {
	for want, a := range map[string]Amount{
		"$0.00": 0, "$1.00": Dollar, "$1.50": 3 * Dollar / 2, "$0.0313": Dollar/32 + 50_000_000, "$0.054": 54 * Dollar / 1000, "-$2.00": -2 * Dollar,
		"$9223372.0369": math.MaxInt64, "$0.0001": 50_000_000, "$10.00": 10 * Dollar,
	} {
		if got := a.String(); got != want {
			t.Errorf("%d is %s, want %s", a, got, want)
		}
	}
	if most.plus(1) != most || most.times(2) != most || Dollar.times(3) != 3*Dollar || Amount(1).plus(2) != 3 {
		t.Error("an amount is not what it should be")
	}
	var sum total
	for range 1000 {
		sum.add(most, 1)
	}
	if sum.amount() != most {
		t.Errorf("the sum is %d", sum.amount())
	}
	for range 1000 {
		sum.add(most, -1)
	}
	sum.add(7, 1)
	if sum.amount() != 7 {
		t.Errorf("the sum is %d, want 7", sum.amount())
	}
}

// What a request may cost follows from the size of its body, from what it asks for, and from what its model can do.
func TestTokens(t *testing.T) {
	for name, c := range map[string]struct {
		request       Request
		input, output int64
	}{
		"asked":             {Request{Model: "claude-opus-4-5", Bytes: 4001, MaxTokens: 100}, 1001, 100},
		"not asked":         {Request{Model: "claude-opus-4-5-20251101", Bytes: 4}, 1, 64_000},
		"more than it can":  {Request{Model: "gpt-4o-mini", MaxTokens: 1 << 40}, 1, 16_384},
		"a large body":      {Request{Model: "us.anthropic.claude-haiku-4-5-v1:0", Bytes: 32 << 20, MaxTokens: 1}, 200_000, 1},
		"several answers":   {Request{Model: "openai/gpt-4o", MaxTokens: 10, Answers: 3}, 1, 30},
		"too many answers":  {Request{Model: "gpt-4o", MaxTokens: 10, Answers: 1 << 50}, 1, 1280},
		"unknown":           {Request{Model: "x"}, 1, 128_000},
		"no model":          {Request{}, 1, 128_000},
		"embeddings":        {Request{Model: "text-embedding-3-small", Bytes: 400, Wordless: true, MaxTokens: 7}, 100, 0},
		"the longest match": {Request{Model: "claude-3-5-haiku-latest"}, 1, 8_192},
		"negative":          {Request{Model: "gpt-5", MaxTokens: -7, Answers: -1}, 1, 128_000},
	} {
		if input, output := c.request.tokens(); input != c.input || output != c.output {
			t.Errorf("%s: %d and %d, want %d and %d", name, input, output, c.input, c.output)
		}
	}
}

// The size of the prompt picks the price of all tokens.
func TestRates(t *testing.T) {
	r := Rates{Tiers: []Rate{{0, 3, 15}, {200_000, 6, 22}}, Request: 5}
	for _, c := range []struct {
		input, output int64
		want          Amount
	}{{200_000, 10, 5 + 600_000 + 150}, {200_001, 10, 5 + 1_200_006 + 220}, {0, 0, 5}} {
		if got := r.Cost(c.input, c.output); got != c.want {
			t.Errorf("%d and %d tokens: %d, want %d", c.input, c.output, got, c.want)
		}
	}
	if (Rates{Tiers: []Rate{{0, most, most}}}).Cost(math.MaxInt64, math.MaxInt64) != mostReserved {
		t.Error("a request costs more than a request can")
	}
	if r.Free() || (Rates{}).Free() || !(Rates{Tiers: []Rate{{}}}).Free() || (Rates{Tiers: []Rate{{}, {1, 0, 1}}}).Free() {
		t.Error("free is what has prices of 0")
	}
}

// Point 14: a refusal names whose budget it is, what is spent and held, the limit, the period's end and its zone. Nothing in it
// commands a terminal.
func TestRefusalText(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	end := time.Date(2026, 12, 1, 0, 0, 0, 0, zone)
	for reason, also := range map[Reason][]string{
		Spent: {"is spent"}, Held: {"held for requests that are running", "up to $1.60"}, Unpriced: {`the model "m\ufffd[31m x"`, "`prices:`"},
	} {
		r := Refusal{
			Reason: reason, Budget: Budget{Subject{Group, "red"}, "re\u202ed\x1b[0m\n", "month", 50 * Dollar}, Spent: 48 * Dollar, Held: 2 * Dollar,
			Estimate: 8 * Dollar / 5, End: end, Now: end.Add(-time.Hour), Model: "m\x1b[31m\nx",
		}
		text := r.Text()
		for _, want := range append(also, `group "re`, "spent $48.00, held $2.00, limit $50.00 this month", "2026-12-01 00:00 +01:00 (Europe/Zurich)") {
			if want = strings.ReplaceAll(want, `\ufffd`, "\ufffd"); !strings.Contains(text, want) {
				t.Errorf("%s: %q, without %q", reason, text, want)
			}
		}
		if strings.ContainsAny(text, "\x1b\u202e\n") {
			t.Errorf("%s: %q", reason, text)
		}
		wait := r.RetryAfter()
		if r.Final() && wait != time.Hour || !r.Final() && (wait < 5*time.Second || wait > time.Minute) {
			t.Errorf("%s: wait %s", reason, wait)
		}
		r.Now = end.Add(-time.Second)
		if wait := r.RetryAfter(); r.Final() && wait != 61*time.Second {
			t.Errorf("%s: just before the end, wait %s", reason, wait)
		}
	}
}
