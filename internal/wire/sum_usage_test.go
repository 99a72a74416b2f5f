package wire_test

import (
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

func TestSumUsage(t *testing.T) {
	for name, test := range map[string]struct{ earlier, last, want string }{
		"none before":         {``, `{ "a": 1 }`, `{ "a": 1 }`},
		"damaged before":      {`{"a":`, `{"a":1}`, `{"a":1}`},
		"no object before":    {`7`, `{"a":1}`, `{"a":1}`},
		"numbers":             {`{"a":1,"b":2}`, `{"b":3,"a":10}`, `{"b":5,"a":11}`},
		"nested":              {`{"d":{"x":1,"y":2}}`, `{"d":{"y":5},"e":0}`, `{"d":{"y":7,"x":1},"e":0}`},
		"null last":           {`{"a":1}`, `{"a":null}`, `{"a":1}`},
		"null before":         {`{"a":null}`, `{"a":4}`, `{"a":4}`},
		"only before":         {`{"a":1,"t":"x"}`, `{}`, `{"a":1,"t":"x"}`},
		"both empty":          {`{}`, `{}`, `{}`},
		"texts":               {`{"t":"old"}`, `{"t":"new"}`, `{"t":"new"}`},
		"lists":               {`{"l":[1,{"a":2}]}`, `{"l":[3]}`, `{"l":[1,{"a":2},3]}`},
		"empty lists":         {`{"l":[]}`, `{"l":[]}`, `{"l":[]}`},
		"fractions":           {`{"cost":0.25}`, `{"cost":0.5}`, `{"cost":0.75}`},
		"too large":           {`{"a":9223372036854775807}`, `{"a":1}`, `{"a":9223372036854776000}`},
		"other types":         {`{"a":"1"}`, `{"a":2}`, `{"a":2}`},
		"twice before":        {`{"a":1,"a":5}`, `{"a":2}`, `{"a":7}`},
		"escapes in the name": {`{"\u0061":1}`, `{"a":2}`, `{"a":3}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(wire.SumUsage([]byte(test.earlier), []byte(test.last))); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// FuzzSumUsage adds two usages: the result is sound JSON, and a figure that both have is their sum.
func FuzzSumUsage(f *testing.F) {
	f.Add(`{"a":1,"d":{"x":1}}`, `{"d":{"x":2},"l":[1]}`)
	f.Fuzz(func(t *testing.T, earlier, last string) {
		if !wire.IsSound([]byte(last)) {
			return
		}
		sum := wire.SumUsage([]byte(earlier), []byte(last))
		if !wire.IsSound(sum) {
			t.Fatalf("%s and %s make %s", earlier, last, sum)
		}
		if !wire.IsSound([]byte(earlier)) || !gjson.Parse(earlier).IsObject() || !gjson.Parse(last).IsObject() {
			return
		}
		one, other := gjson.Get(earlier, "a"), gjson.Get(last, "a")
		if small := func(r gjson.Result) bool {
			return r.Type == gjson.Number && r.Num >= 0 && r.Num < 1<<40 && r.Num == float64(int64(r.Num))
		}; small(one) && small(other) &&
			gjson.GetBytes(sum, "a").Num != one.Num+other.Num && countNames(earlier) == 1 && countNames(last) == 1 {
			t.Fatalf("%s and %s make %s", earlier, last, sum)
		}
	})
}

// countNames returns how many members have the name a.
func countNames(object string) (n int) {
	gjson.Parse(object).ForEach(func(name, _ gjson.Result) bool {
		if name.Str == "a" {
			n++
		}
		return true
	})
	return n
}

func TestLastUsage(t *testing.T) {
	for name, test := range map[string]struct{ earlier, last, want string }{
		"none before": {``, `{"a":1}`, `{"a":1}`},
		"both":        {`{"a":1,"b":2,"c":null}`, `{"b":3,"a":null,"d":4,"c":{}}`, `{"a":1,"b":3,"c":{},"d":4}`},
		"empty":       {`{}`, `{}`, `{}`},
		"no object":   {`{"a":1}`, `7`, `7`},
		"zeros":       {`{"a":5,"b":2,"o":{"x":3,"y":0},"l":[1]}`, `{"a":0,"b":0.0,"o":{"x":0,"y":2,"z":0},"l":[]}`, `{"a":5,"b":2,"o":{"x":3,"y":2,"z":0},"l":[]}`},
		"zero twice":  {`{"a":0,"b":"x"}`, `{"a":0,"b":0}`, `{"a":0,"b":0}`},
	} {
		if got := string(wire.LastUsage([]byte(test.earlier), []byte(test.last))); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
	}
}
