package console

import (
	"strings"
	"time"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Health is how a gateway does.
type Health struct {
	// NotReady says why the gateway should be given no requests, in a line. Empty: it should.
	NotReady  string           `json:"not_ready"`
	Providers []ProviderHealth `json:"providers"`
	Keys      []KeyHealth      `json:"keys"`
	// Figures are others, such as how many records wait.
	Figures []Figure `json:"figures"`
}

// ProviderHealth is whether a provider can serve.
type ProviderHealth struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	State string `json:"state"` // In a line.
}

// KeyHealth is whether a key of a provider is asked.
type KeyHealth struct {
	Provider string    `json:"provider"`
	Hint     string    `json:"hint"` // Never the key itself.
	State    string    `json:"state"`
	Until    time.Time `json:"until"`  // When it is asked again. Zero: it is asked.
	Models   []string  `json:"models"` // Those for which it is not asked. Empty: all.
}

// Figure is something with a name.
type Figure struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// healthPage is what administrators see of it.
type healthPage struct {
	Health

	Providers, Keys, Figures *table
}

// health shows how the gateway does.
func (c *Console) health(v *visit) (*answer, error) {
	if !v.viewer.Admin {
		return nil, reports.ErrNotFound
	}
	found := c.options.Health(v.Context())
	p := &healthPage{
		Health: found, Providers: &table{Caption: "Providers", Columns: columns([]string{"Name", "Type", "State"})},
		Keys:    &table{Caption: "Keys", Columns: columns([]string{"Provider", "Key", "State", "Until", "For some models only"})},
		Figures: &table{Caption: "Figures", Columns: columns([]string{"What"}, "Value")},
	}
	all := &table{Caption: "Health", Columns: columns([]string{"What", "Value"})}
	for _, one := range found.Providers {
		p.Providers.Rows = append(p.Providers.Rows, []cell{{Text: one.Name}, {Text: one.Type}, {Text: one.State}})
		all.Rows = append(all.Rows, []cell{{Text: "provider " + one.Name}, {Text: one.State}})
	}
	for _, one := range found.Keys {
		until, models := cell{Text: "–"}, strings.Join(one.Models, ", ")
		if !one.Until.IsZero() {
			until = v.time(one.Until)
		}
		p.Keys.Rows = append(p.Keys.Rows, []cell{{Text: one.Provider}, {Text: one.Hint}, {Text: one.State}, until, {Text: models}})
		all.Rows = append(all.Rows, []cell{{Text: "key " + one.Hint + " of " + one.Provider}, {Text: one.State}})
	}
	for _, one := range found.Figures {
		row := []cell{{Text: one.Name}, {Text: one.Value}}
		p.Figures.Rows, all.Rows = append(p.Figures.Rows, row), append(all.Rows, row)
	}
	return &answer{view: "health", title: "Health", data: p, file: "health", table: all, json: found}, nil
}
