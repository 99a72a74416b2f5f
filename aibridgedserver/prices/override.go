package prices

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// Override is a price that counts more than the embedded table. What it does not tell is the table's.
type Override struct {
	// Provider is the name or the type of a provider. Empty: any.
	Provider string
	// Model is the name of a model. With a * at its end, it is the beginning of names.
	Model string
	// From is the instant from which the price holds. Zero: always. Of several overrides for a model, the latest counts.
	From time.Time
	// Prices are in USD: of tokens a million, of all else a thousand. A price of 0 is free.
	Prices map[Kind]decimal.Decimal
	// LongContext, if above 0, is the size in tokens beyond which a prompt has the prices of Long. A kind that is not in
	// it costs the same.
	LongContext int64
	Long        map[Kind]decimal.Decimal
	// Factors multiply the prices of tokens, by the service tier, the speed or the region that the upstream names.
	Factors map[string]decimal.Decimal
}

// check returns an error that says what is wrong with an override.
func (o Override) check() error {
	if o.Model == "" {
		return errors.New("model is missing")
	}
	if o.LongContext < 0 || (o.LongContext == 0) != (len(o.Long) == 0) {
		return errors.New("a long context needs both a size above 0 and prices")
	}
	for _, prices := range []map[Kind]decimal.Decimal{o.Prices, o.Long} {
		for kind, amount := range prices {
			if _, known := kind.unit(); !known {
				return fmt.Errorf("%q is no kind of usage that has a price", kind)
			}
			if amount.IsNegative() {
				return fmt.Errorf("the price of %s is negative", kind)
			}
		}
	}
	for name, factor := range o.Factors {
		if !factor.IsPositive() {
			return fmt.Errorf("the factor of %s must be above 0", name)
		}
	}
	return nil
}

// matches reports whether the override is for a model, in lower case, of a provider.
func (o Override) matches(p Provider, model string) bool {
	if o.Provider != "" && o.Provider != p.Name && o.Provider != p.Type {
		return false
	}
	name := strings.ToLower(o.Model)
	if beginning, ok := strings.CutSuffix(name, "*"); ok {
		return strings.HasPrefix(model, beginning)
	}
	return model == name
}

// row returns the override as a row of the table.
func (o Override) row() row {
	prices := make(map[string]price, len(o.Prices))
	for kind, base := range o.Prices {
		p := price{base: base}
		if long, ok := o.Long[kind]; ok {
			p.tiers = []tier{{o.LongContext, long}}
		}
		unit, _ := kind.unit()
		prices[unit.key] = p
	}
	return row{Prices: prices}
}

// override returns the override that counts for a model at an instant, or nil: a whole name before a beginning, a longer
// beginning before a shorter one, one for a provider before one for any, and then the latest.
func (b *Book) override(p Provider, model string, at time.Time) *Override {
	var best *Override
	for i := range b.overrides {
		o := &b.overrides[i]
		if o.From.After(at) || !o.matches(p, model) {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(o.precision(), best.precision()), cmp.Compare(len(o.Provider), len(best.Provider)), o.From.Compare(best.From),
		) >= 0 {
			best = o
		}
	}
	return best
}

// precision is higher the fewer models an override is for.
func (o Override) precision() int {
	if strings.HasSuffix(o.Model, "*") {
		return len(o.Model)
	}
	return 1 << 16
}
