package prices

import (
	"strings"

	"github.com/shopspring/decimal"
)

// factor multiplies the prices of tokens if the upstream says that it served an answer in a certain way. The embedded table
// has only list prices.
type factor struct {
	label, value string
	vendors      string   // The ids of providers, with blanks around each. Empty: any.
	models       []string // The beginnings of names. None: any.
	by           string
}

// factors is the table of factors, from the vendors' price pages. The first row that fits counts. A value that has neither
// a row here nor a place in neutral has no known price.
func factors() []factor {
	return []factor{
		{label: "service_tier", value: "batch", vendors: " anthropic openai azure google aws mistral ", by: "0.5"},
		{label: "service_tier", value: "flex", vendors: " openai azure google aws ", by: "0.5"},
		{label: "service_tier", value: "priority", vendors: " openai azure ", models: []string{"gpt-5-mini"}, by: "1.8"},
		{label: "service_tier", value: "priority", vendors: " openai azure ", models: []string{"gpt-4.1", "o3"}, by: "1.75"},
		{label: "service_tier", value: "priority", vendors: " openai azure ", models: []string{"gpt-4o-2", "gpt-4o-c"}, by: "1.7"},
		{label: "service_tier", value: "priority", vendors: " openai azure ", models: []string{"gpt-5"}, by: "2"},
		{label: "speed", value: "fast", vendors: " anthropic ", models: []string{"claude-opus-4-6", "claude-opus-4-7"}, by: "6"},
		{label: "speed", value: "fast", vendors: " anthropic ", models: []string{"claude-opus-4-8"}, by: "2"},
		{label: "inference_geo", value: "us", vendors: " anthropic ", by: "1.1"},
	}
}

// neutral are the values that name the list price.
func neutral(label, value string) bool {
	switch label {
	case "service_tier":
		return value == "" || value == "standard" || value == "default" || value == "auto" || value == "on_demand" || value == "standard_only"
	case "speed":
		return value == "" || value == "standard" || value == "normal"
	default:
		return value == "" || value == "global" || value == "not_available"
	}
}

// label is something that the upstream says of how it served an answer.
type label struct{ name, value string }

// multiplier returns what the prices of tokens are multiplied by, with a note on each factor, or why that is not known.
func multiplier(labels [3]label, vendor, model string, own map[string]decimal.Decimal) (by decimal.Decimal, notes []string, known bool) {
	by, known = decimal.NewFromInt(1), true
	for _, l := range labels {
		value := strings.ToLower(l.value)
		one, ok := own[value]
		if !ok && neutral(l.name, value) {
			continue
		}
		if !ok {
			one, ok = listed(l.name, value, vendor, model)
		}
		if !ok {
			known = false
			notes = append(notes, l.name+" "+value+": its price is not known")
			continue
		}
		by = by.Mul(one)
		notes = append(notes, l.name+" "+value+": × "+one.String())
	}
	return by, notes, known
}

func listed(label, value, vendor, model string) (by decimal.Decimal, ok bool) {
	for _, f := range factors() {
		if f.label != label || f.value != value || f.vendors != "" && !strings.Contains(f.vendors, " "+vendor+" ") {
			continue
		}
		if len(f.models) == 0 {
			return decimal.RequireFromString(f.by), true
		}
		for _, beginning := range f.models {
			if strings.HasPrefix(model, beginning) {
				return decimal.RequireFromString(f.by), true
			}
		}
	}
	return by, false
}
