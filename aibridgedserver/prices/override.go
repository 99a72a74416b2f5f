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

// precision is how precisely the override names a model, in lower case, of a provider: its whole name, the name of which it is a dated
// version, or a beginning of some length. Zero: it is not for that model.
func (o Override) precision(p Provider, model string) int {
	if o.Provider != "" && o.Provider != p.Name && o.Provider != p.Type {
		return 0
	}
	const longest = 1 << 16 // No name is longer.
	name := strings.ToLower(o.Model)
	if beginning, ok := strings.CutSuffix(name, "*"); ok {
		if !strings.HasPrefix(model, beginning) {
			return 0
		}
		return 1 + min(len(beginning), longest)
	}
	rest, ok := strings.CutPrefix(model, name)
	switch {
	case ok && rest == "":
		return 4 * longest
	case ok && dated.MatchString(rest):
		return 2*longest + min(len(name), longest)
	default:
		return 0
	}
}

// nearness is higher the fewer providers an override is for.
func (o Override) nearness(p Provider) int {
	switch o.Provider {
	case "":
		return 0
	case p.Name:
		return 2
	default:
		return 1
	}
}

// over returns a row with the prices of the override instead, where that has any.
func (o Override) over(below row) row {
	prices := make(map[string]price, len(below.Prices)+len(o.Prices))
	for key, p := range below.Prices {
		prices[key] = p
	}
	for kind, base := range o.Prices {
		unit, _ := kind.unit()
		prices[unit.key] = price{base: base}
	}
	for kind, long := range o.Long {
		unit, _ := kind.unit()
		p, known := prices[unit.key]
		p.unknown = p.unknown || !known
		prices[unit.key] = p.beyond(o.LongContext, long)
	}
	return row{Prices: prices}
}

// override returns the override that counts for a model, of which there are several spellings, at an instant, or nil: a whole name
// counts before that of which the model is a dated version, that before a beginning, a longer beginning before a shorter one, one for a
// provider before one for a type, that before one for any, and then the latest.
func (b *Book) override(p Provider, spellings []string, at time.Time) (best *Override) {
	var of int // The precision of the best.
	for i := range b.overrides {
		o := &b.overrides[i]
		if o.From.After(at) {
			continue
		}
		for _, name := range spellings {
			precision := o.precision(p, name)
			if precision > 0 && (best == nil || cmp.Or(cmp.Compare(precision, of), cmp.Compare(o.nearness(p), best.nearness(p)), o.From.Compare(best.From)) >= 0) {
				best, of = o, precision
			}
		}
	}
	return best
}
