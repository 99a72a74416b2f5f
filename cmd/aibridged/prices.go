package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver/prices"
)

// priceConfig is a price in the configuration. What it does not tell is that of the embedded table.
type priceConfig struct {
	// Provider is the name or the type of a provider. Empty: any.
	Provider string `yaml:"provider"`
	// Model is the name of a model, or with a * at its end the beginning of names.
	Model string `yaml:"model"`
	// From is a date, which begins in UTC, or a time. Empty: always.
	From string `yaml:"from"`

	Kinds kindPrices `yaml:",inline"`

	LongContext longContextConfig   `yaml:"long_context"`
	Factors     map[string]usdValue `yaml:"factors"`
}

// kindPrices are prices in USD: of tokens a million, of all else a thousand.
type kindPrices struct {
	Input           *usdValue `yaml:"input"`
	Output          *usdValue `yaml:"output"`
	OutputReasoning *usdValue `yaml:"output_reasoning"`
	CacheRead       *usdValue `yaml:"cache_read"`
	CacheWrite      *usdValue `yaml:"cache_write"`
	CacheWrite1h    *usdValue `yaml:"cache_write_1h"`
	InputAudio      *usdValue `yaml:"input_audio"`
	OutputAudio     *usdValue `yaml:"output_audio"`
	WebSearch       *usdValue `yaml:"web_search"`
	FileSearch      *usdValue `yaml:"file_search"`
	CodeExecution   *usdValue `yaml:"code_execution"`
	Request         *usdValue `yaml:"request"`
}

// longContextConfig are the prices of requests whose prompts have more than Above tokens.
type longContextConfig struct {
	Above int64 `yaml:"above"`

	Kinds kindPrices `yaml:",inline"`
}

// usdValue is an exact amount: a number of the file never becomes a floating-point number.
type usdValue struct{ decimal.Decimal }

// UnmarshalYAML implements the interface of the YAML package for values that read their own text.
func (v *usdValue) UnmarshalYAML(text []byte) (err error) {
	v.Decimal, err = decimal.NewFromString(strings.Trim(strings.TrimSpace(string(text)), `"'`))
	if err != nil {
		return fmt.Errorf("%q is no number", text)
	}
	return nil
}

// kinds returns the prices that are told.
func (k kindPrices) kinds() map[prices.Kind]decimal.Decimal {
	told := map[prices.Kind]decimal.Decimal{}
	for kind, value := range map[prices.Kind]*usdValue{
		prices.Input: k.Input, prices.Output: k.Output, prices.OutputReasoning: k.OutputReasoning, prices.CacheRead: k.CacheRead,
		prices.CacheWrite: k.CacheWrite, prices.CacheWrite1h: k.CacheWrite1h, prices.InputAudio: k.InputAudio,
		prices.OutputAudio: k.OutputAudio, prices.WebSearch: k.WebSearch, prices.FileSearch: k.FileSearch,
		prices.CodeExecution: k.CodeExecution, prices.Request: k.Request,
	} {
		if value != nil {
			told[kind] = value.Decimal
		}
	}
	return told
}

func (p priceConfig) override() (prices.Override, error) {
	o := prices.Override{
		Provider: p.Provider, Model: p.Model, Prices: p.Kinds.kinds(), LongContext: p.LongContext.Above, Long: p.LongContext.Kinds.kinds(),
		Factors: map[string]decimal.Decimal{},
	}
	for name, factor := range p.Factors {
		o.Factors[strings.ToLower(name)] = factor.Decimal
	}
	if p.From == "" {
		return o, nil
	}
	var err error
	if o.From, err = time.Parse(time.DateOnly, p.From); err != nil {
		o.From, err = time.Parse(time.RFC3339, p.From)
	}
	if err != nil {
		return o, fmt.Errorf("from is %q, want a date (2026-01-02, in UTC) or a time (2026-01-02T15:04:05Z)", p.From)
	}
	return o, nil
}

// overrides returns the prices of the configuration.
func (c config) overrides() ([]prices.Override, error) {
	overrides := make([]prices.Override, 0, len(c.Prices))
	for i, p := range c.Prices {
		o, err := p.override()
		if err != nil {
			return nil, fmt.Errorf("prices: price %d (model %q): %w", i+1, p.Model, err)
		}
		overrides = append(overrides, o)
	}
	if _, err := prices.New(overrides); err != nil {
		return nil, fmt.Errorf("prices: %w", err)
	}
	return overrides, nil
}
