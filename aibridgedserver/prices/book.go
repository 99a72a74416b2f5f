package prices

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shopspring/decimal"
)

// Book holds prices. It is safe for concurrent use.
type Book struct {
	table     *table
	overrides []Override

	mu    sync.Mutex
	found map[lookup]finding // Guarded by mu. Prices that were looked up; emptied when it has mostFound.
}

// mostFound bounds what a book remembers: clients choose the names of models.
const mostFound = 4096

type lookup struct {
	provider Provider
	model    string
}

// finding is a model of the table, or nothing.
type finding struct {
	vendor string // The provider of the table that the upstream is.
	at     *provider
	model  *model
	exact  bool
}

// New returns the embedded prices with overrides. It fails if an override is wrong.
func New(overrides []Override) (*Book, error) {
	t, err := newTable(embedded)
	if err != nil {
		return nil, err
	}
	for i, o := range overrides {
		if err := o.check(); err != nil {
			return nil, fmt.Errorf("price %d (model %q): %w", i+1, o.Model, err)
		}
	}
	return &Book{table: t, overrides: slices.Clone(overrides), found: map[lookup]finding{}}, nil
}

// Source names where the embedded prices come from, with the version.
func (b *Book) Source() string { return b.table.Source }

// vendors are the providers of the table by the types of a gateway's providers.
func vendors() map[string]string {
	return map[string]string{
		"anthropic": "anthropic", "openai": "openai", "bedrock": "aws", "azure": "azure", "google": "google", "vertex": "google",
		"openrouter": "openrouter", "copilot": "github-copilot",
	}
}

// vendor returns the provider of the table that an upstream is, or nil. An address that the table knows counts more than
// the type: other vendors speak OpenAI's formats too.
func (b *Book) vendor(p Provider) *provider {
	if p.BaseURL != "" {
		for _, v := range b.table.Providers {
			if v.Address.MatchString(p.BaseURL) {
				return v
			}
		}
	}
	return b.table.provider(vendors()[p.Type])
}

// find returns the model of the table that has that name.
func (b *Book) find(p Provider, name string) finding {
	key := lookup{p, name}
	b.mu.Lock()
	defer b.mu.Unlock()
	if f, ok := b.found[key]; ok {
		return f
	}
	if len(b.found) >= mostFound {
		clear(b.found)
	}
	var f finding
	if v := b.vendor(p); v != nil {
		f.vendor = v.ID
		for _, name := range spellings(name) {
			if f.at, f.model = b.table.find(v, name); f.model != nil {
				f.exact = slices.ContainsFunc(spellings(name), f.model.isExactly)
				break
			}
		}
	}
	b.found[key] = f
	return f
}

// spellings returns the ways to write the name of a model, the one that was used first: without the collection that some
// APIs put before it, such as models/, publishers/google/models/ or google/, and each with dashes in its dates.
func spellings(name string) []string {
	all := []string{name}
	if own := collection.ReplaceAllString(name, ""); own != name && own != "" {
		all = append(all, own)
	}
	for _, one := range all {
		if dashed := withDashes(one); dashed != one {
			all = append(all, dashed)
		}
	}
	return all
}

// collection is what stands before a name in which a vendor lists its models, or those of others.
var collection = regexp.MustCompile(`^((.*/)?models/|(anthropic|deepseek|google|meta|mistralai|openai|x-ai|xai)/)`)

// compactDate is a date without dashes at the end of a name or before a further part of it.
var compactDate = regexp.MustCompile(`-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(-|:|$)`)

// withDashes returns a name with the dates in it written with dashes, as some vendors write them.
func withDashes(name string) string { return compactDate.ReplaceAllString(name, "-$1-$2-$3$4") }

var (
	// dated is what follows the name of a model in that of a version of it: dates, "latest", and a provider's own version.
	dated = regexp.MustCompile(`^([-@:](latest|20\d{2}-?\d{2}-?\d{2}|\d{4}|v\d+(:\d+)?))+$`)
	// placed is what stands before it: a region, and the vendor.
	placed = regexp.MustCompile(`^((global|regional|us|eu|au|jp|apac|us-gov)\.)?((anthropic|openai|meta|amazon|mistral)\.)?`)
)

// isExactly reports whether a name, in lower case, is the model's own, an alias, or one of them with a date or a place.
func (m *model) isExactly(name string) bool {
	name = placed.ReplaceAllString(name, "")
	for _, own := range append([]string{m.ID}, m.Match.equals...) {
		own = placed.ReplaceAllString(strings.ToLower(own), "")
		for _, stem := range []string{own, trimmed(own)} {
			rest, ok := strings.CutPrefix(name, stem)
			if ok && (rest == "" || dated.MatchString(rest)) {
				return true
			}
		}
	}
	return false
}

// ending is a date or a version at the end of a name.
var ending = regexp.MustCompile(`([-@:](latest|20\d{2}-?\d{2}-?\d{2}|v\d+(:\d+)?))+$`)

func trimmed(name string) string { return ending.ReplaceAllString(name, "") }

// aws is the provider of the table for Bedrock.
const aws = "aws"

// profile is the inference profile in the id of a model or in an ARN.
var profile = regexp.MustCompile(`(?:^|/)((?:global|us|eu|au|jp|apac|us-gov)\.(?:[a-z]+\.)?)`)

// inProfile returns the name of a model that answered on Bedrock with the inference profile that was asked for: the profile decides the
// price, and answers name the model alone.
func inProfile(answered, asked string) string {
	found := profile.FindStringSubmatch(asked)
	if found == nil || placed.FindString(answered) != "" {
		return answered
	}
	return found[1] + answered
}

// onBedrock returns the names under which the configuration may have a price for what Bedrock answered: those that were told and asked
// for, and each without its profile and vendor.
func onBedrock(models []string) (names []string) {
	for _, name := range models {
		name = strings.ToLower(strings.TrimSpace(name))
		for _, one := range []string{name, inProfile(models[0], name), placed.ReplaceAllString(name, "")} {
			if one != "" && !slices.Contains(names, one) {
				names = append(names, one)
			}
		}
	}
	return names
}

// applicable is what decides the price of a usage.
type applicable struct {
	row     row
	name    string // Of the model, in lower case.
	title   string // Of the row.
	exact   bool
	vendor  string
	factors map[string]decimal.Decimal
}

// applicable returns the price for the first of the models that has one. The first one answered, the others name the one that was asked
// for.
func (b *Book) applicable(p Provider, models []string, at time.Time) (applicable, bool) {
	asked := strings.ToLower(cmp.Or(models[1:]...))
	for _, m := range models {
		name := strings.ToLower(strings.TrimSpace(m))
		if name == "" {
			continue
		}
		f := b.find(p, name)
		names := spellings(name)
		if f.vendor == aws {
			names = onBedrock(append([]string{name}, models...))
			name = inProfile(name, asked)
			f = b.find(p, name)
		}
		a := applicable{name: name, vendor: f.vendor}
		if f.model != nil {
			a.row, a.title, a.exact = f.model.row(at), f.at.ID+"/"+f.model.ID, f.exact
		}
		if o := b.override(p, names, at); o != nil {
			a.row = o.over(a.row)
			a.title, a.exact, a.factors = "config/"+o.Model, !strings.HasSuffix(o.Model, "*"), o.Factors
		}
		if a.title != "" {
			return a, true
		}
	}
	return applicable{}, false
}
