package prices_test

import (
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver/prices"
)

// listed is a line of testdata/usages.txt.
type listed struct {
	line  string
	usage prices.Usage
	usd   *big.Rat
}

func readUsages(t *testing.T) (all []listed) {
	t.Helper()
	text, err := os.ReadFile("testdata/usages.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		counts, arithmetic, _ := strings.Cut(line, " = ")
		var kind, model, at string
		var write5m, write1h, searches int64
		var u prices.Usage
		if _, err := fmt.Sscan(counts, &kind, &model, &at, &u.Input, &u.CacheRead, &write5m, &write1h, &u.Output, &searches); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		u.Provider.Type, u.Model, u.CacheWrite = kind, model, write5m+write1h
		if u.At, err = time.Parse(time.RFC3339, at); err != nil {
			t.Fatal(err)
		}
		u.Metadata = fmt.Appendf(nil, `{"cache_ephemeral_5m_input":%d,"cache_ephemeral_1h_input":%d,"web_search_requests":%d}`, write5m, write1h, searches)
		all = append(all, listed{line, u, evaluate(t, arithmetic)})
	}
	return all
}

// evaluate returns the value of a sum of products, in millionths.
func evaluate(t *testing.T, text string) *big.Rat {
	t.Helper()
	sum := new(big.Rat)
	for term := range strings.SplitSeq(strings.TrimSpace(text), " + ") {
		product := big.NewRat(1, 1_000_000)
		for number := range strings.SplitSeq(term, "*") {
			value, ok := new(big.Rat).SetString(number)
			if !ok {
				t.Fatalf("%q is no number", number)
			}
			product.Mul(product, value)
		}
		sum.Add(sum, product)
	}
	return sum
}

// The costs of a hundred usages are what the arithmetic beside them says, exactly.
func TestUsages(t *testing.T) {
	t.Parallel()
	book := newBook(t)
	all := readUsages(t)
	if len(all) < 100 {
		t.Errorf("%d usages", len(all))
	}
	for _, one := range all {
		cost := book.Cost(one.usage)
		if cost.USD.Rat().Cmp(one.usd) != 0 || cost.HasUnknown() || !cost.Exact {
			t.Errorf("%sgot %s by %s, exact %t, %v; want %s", one.line, cost.USD, cost.Row, cost.Exact, cost.Items, one.usd.FloatString(12))
		}
	}
}
