package prices

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// embedded is the table that `make prices` makes.
//
//go:embed table.json
var embedded []byte

// table holds the prices of providers. Nothing changes it once it is made.
type table struct {
	Source    string      `json:"source"`
	Providers []*provider `json:"providers"`
}

// provider is a vendor with its models. A model may match several; the first one counts.
type provider struct {
	ID       string   `json:"id"`
	Address  pattern  `json:"address"`
	Fallback []string `json:"fallback"` // The providers whose prices count for models that this one does not have.
	Models   []*model `json:"models"`
}

type model struct {
	ID    string `json:"id"`
	Match rule   `json:"match"`
	Rows  []row  `json:"rows"` // The last one whose period has the instant counts.
}

// row holds prices with the period in which they hold. A row without a period always holds.
type row struct {
	From      date             `json:"from"`
	DailyFrom *clock           `json:"daily_from"`
	DailyTo   *clock           `json:"daily_to"`
	Prices    map[string]price `json:"prices"` // By the names of priceKeys, in USD a million or a thousand.
}

// price is a number, or a number with others for prompts beyond a size.
type price struct {
	base    decimal.Decimal
	unknown bool // There is no base: only the prices of larger prompts are known.
	tiers   []tier
}

// tier is the price of all units of a request whose prompt has more tokens than Start.
type tier struct {
	Start int64           `json:"start"`
	Price decimal.Decimal `json:"price"`
}

// at returns the price in a request whose prompt has that many tokens, and whether it is known.
func (p price) at(prompt int64) (found decimal.Decimal, known bool) {
	found, known = p.base, !p.unknown
	for _, t := range p.tiers {
		if prompt > t.Start {
			found, known = t.Price, true
		}
	}
	return found, known
}

// beyond returns the price with another one for all prompts beyond a size.
func (p price) beyond(size int64, other decimal.Decimal) price {
	smaller := slices.DeleteFunc(slices.Clone(p.tiers), func(t tier) bool { return t.Start >= size })
	p.tiers = append(smaller, tier{size, other})
	return p
}

// UnmarshalJSON implements [json.Unmarshaler].
func (p *price) UnmarshalJSON(text []byte) error {
	if text[0] != '{' {
		return json.Unmarshal(text, &p.base)
	}
	var tiered struct {
		Base  decimal.Decimal `json:"base"`
		Tiers []tier          `json:"tiers"`
	}
	err := json.Unmarshal(text, &tiered)
	slices.SortFunc(tiered.Tiers, func(a, b tier) int { return int(a.Start - b.Start) })
	p.base, p.tiers = tiered.Base, tiered.Tiers
	return err
}

// newTable reads a table.
func newTable(text []byte) (*table, error) {
	var t table
	if err := json.Unmarshal(text, &t); err != nil {
		return nil, fmt.Errorf("price table: %w", err)
	}
	for _, p := range t.Providers {
		for _, m := range p.Models {
			if m.Match.matches == nil || len(m.Rows) == 0 {
				return nil, fmt.Errorf("price table: %s/%s has no match or no prices", p.ID, m.ID)
			}
		}
	}
	return &t, nil
}

func (t *table) provider(id string) *provider {
	i := slices.IndexFunc(t.Providers, func(p *provider) bool { return p.ID == id })
	if i < 0 {
		return nil
	}
	return t.Providers[i]
}

// find returns the model with that name, in lower case, and the provider that has its price.
func (t *table) find(p *provider, name string) (*provider, *model) {
	for _, m := range p.Models {
		if m.Match.matches(name) {
			return p, m
		}
	}
	for _, id := range p.Fallback {
		if other := t.provider(id); other != nil {
			if at, m := t.find(other, name); m != nil {
				return at, m
			}
		}
	}
	return nil, nil
}

// row returns the prices of an instant. The first row counts if no row's period has it: the instant is older than all.
func (m *model) row(at time.Time) row {
	at = at.UTC()
	for _, r := range slices.Backward(m.Rows) {
		if r.holds(at) {
			return r
		}
	}
	return m.Rows[0]
}

func (r row) holds(at time.Time) bool {
	if r.DailyFrom == nil || r.DailyTo == nil {
		return !at.Before(time.Time(r.From))
	}
	midnight := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
	now, from, to := at.Sub(midnight), time.Duration(*r.DailyFrom), time.Duration(*r.DailyTo)
	if to < from {
		return now >= from || now < to
	}
	return now >= from && now < to
}

// date is a day, which begins at midnight in UTC. The zero date is before all others.
type date time.Time

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *date) UnmarshalText(text []byte) error {
	at, err := time.Parse(time.DateOnly, string(text))
	*d = date(at)
	return err
}

// clock is a time of a day in UTC.
type clock time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *clock) UnmarshalText(text []byte) error {
	at, err := time.Parse("15:04:05Z07:00", string(text))
	at = at.UTC()
	*c = clock(time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second)
	return err
}

// pattern is a regular expression that stands at the beginning of a text.
type pattern struct{ *regexp.Regexp }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *pattern) UnmarshalText(text []byte) (err error) {
	p.Regexp, err = regexp.Compile(`^(?:` + string(text) + `)`)
	return err
}

// rule says which models a price is for.
type rule struct {
	matches func(name string) bool
	equals  []string // The names that it has as a whole.
}

// UnmarshalJSON implements [json.Unmarshaler].
func (r *rule) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	if len(members) != 1 {
		return errors.New("a rule has one member")
	}
	for kind, value := range members {
		switch kind {
		case "or", "and":
			return r.combine(kind, value)
		case "not":
			var inner rule
			err := json.Unmarshal(value, &inner)
			r.matches = func(name string) bool { return !inner.matches(name) }
			return err
		default:
			var operand string
			if err := json.Unmarshal(value, &operand); err != nil {
				return err
			}
			return r.simple(kind, operand)
		}
	}
	return nil
}

func (r *rule) combine(kind string, value json.RawMessage) error {
	var parts []rule
	err := json.Unmarshal(value, &parts)
	if kind == "and" {
		r.matches = func(name string) bool {
			return !slices.ContainsFunc(parts, func(part rule) bool { return !part.matches(name) })
		}
		return err
	}
	for _, part := range parts {
		r.equals = append(r.equals, part.equals...)
	}
	r.matches = func(name string) bool {
		return slices.ContainsFunc(parts, func(part rule) bool { return part.matches(name) })
	}
	return err
}

func (r *rule) simple(kind, operand string) error {
	switch kind {
	case "equals":
		r.equals = []string{operand}
		r.matches = func(name string) bool { return name == operand }
	case "starts_with":
		r.matches = func(name string) bool { return strings.HasPrefix(name, operand) }
	case "ends_with":
		r.matches = func(name string) bool { return strings.HasSuffix(name, operand) }
	case "contains":
		r.matches = func(name string) bool { return strings.Contains(name, operand) }
	case "regex":
		compiled, err := regexp.Compile(operand)
		if err != nil {
			return err
		}
		r.matches = compiled.MatchString
	default:
		return fmt.Errorf("rule %q is not known", kind)
	}
	return nil
}
