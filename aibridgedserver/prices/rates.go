package prices

import (
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// Asked is a request before it is sent, as far as that decides what it will cost.
type Asked struct {
	Provider Provider
	Model    string
	At       time.Time
	// Wordless says that the answer has no tokens, as with embeddings.
	Wordless bool
	// ServiceTier, Speed and InferenceGeo are how the request wants to be served. Empty: it does not say.
	ServiceTier, Speed, InferenceGeo string
}

// Rates are what the tokens of a request cost that has not been sent yet.
type Rates struct {
	// Row names the price, as in a [Cost].
	Row string
	// Tiers are by the size of the prompt. The first one is for the smallest.
	Tiers []Rate
	// Request is what a request costs beside its tokens.
	Request decimal.Decimal
}

// Rate is what each token costs, in USD, of a request whose prompt has more than Above. Input is that of tokens which no cache
// has, and Output that of the dearest kind of text.
type Rate struct {
	Above         int64
	Input, Output decimal.Decimal
}

// Rates returns what the tokens of a request cost. If the price of a part is not known, it returns false.
func (b *Book) Rates(a Asked) (Rates, bool) {
	found, known := b.applicable(a.Provider, []string{"", a.Model}, a.At)
	if !known {
		return Rates{}, false
	}
	labels := [3]label{{"service_tier", a.ServiceTier}, {"speed", a.Speed}, {"inference_geo", a.InferenceGeo}}
	by, _, certain := multiplier(labels, found.vendor, found.name, found.factors)
	if !certain {
		return Rates{}, false
	}
	kinds := []Kind{Input, Output, OutputReasoning}
	if a.Wordless {
		kinds = kinds[:1]
	}
	prices := make([]price, 0, len(kinds))
	starts := []int64{0}
	for _, kind := range kinds {
		unit, _ := kind.unit()
		p, ok := found.row.Prices[unit.key]
		if !ok && kind == OutputReasoning {
			continue
		}
		if !ok || p.unknown {
			return Rates{}, false
		}
		prices = append(prices, p)
		for _, t := range p.tiers {
			starts = append(starts, t.Start)
		}
	}
	rates := Rates{Row: found.title}
	if unit, _ := Request.unit(); found.row.Prices[unit.key].base.IsPositive() {
		rates.Request = found.row.Prices[unit.key].base.Shift(-unit.per)
	}
	slices.Sort(starts)
	for _, above := range slices.Compact(starts) {
		each := func(p price) decimal.Decimal {
			found, _ := p.at(above + 1)
			return found.Mul(by).Shift(-6)
		}
		rate := Rate{Above: above, Input: each(prices[0])}
		for _, p := range prices[1:] {
			rate.Output = decimal.Max(rate.Output, each(p))
		}
		rates.Tiers = append(rates.Tiers, rate)
	}
	return rates, true
}
