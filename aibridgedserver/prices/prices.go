// Package prices tells what a recorded token usage cost.
//
//	book, err := prices.New(nil)
//	if err != nil {
//		return err
//	}
//	cost := book.Cost(prices.Usage{Provider: prices.Provider{Type: "anthropic"}, Model: "claude-opus-5", At: at, Input: 120})
//
// Prices are those of an embedded table, which `make prices` makes from a pinned npm package, and those of [Override]s.
// What has no price is told as unknown: it is never taken for free.
//
// The package reads no database and asks no network. It knows nothing of budgets.
package prices

import (
	"time"

	"github.com/shopspring/decimal"
)

// Kind is a kind of usage that has a price of its own.
type Kind string

// The kinds of usage. The unit of those up to [OutputAudio] is a token.
const (
	Input           Kind = "input" // Neither read from a cache nor written to one.
	CacheRead       Kind = "cache_read"
	CacheWrite      Kind = "cache_write"    // For five minutes, or for a time that nobody told.
	CacheWrite1h    Kind = "cache_write_1h" // For an hour.
	Output          Kind = "output"
	OutputReasoning Kind = "output_reasoning" // Only where it has a price of its own; else it is part of the output.
	InputAudio      Kind = "input_audio"
	OutputAudio     Kind = "output_audio"
	Image           Kind = "image"       // What a tool used that makes images with another model.
	Advice          Kind = "advice"      // What another model used that the API asked on the client's behalf.
	Unaccounted     Kind = "unaccounted" // Tokens that only the total of a usage has.
	WebSearch       Kind = "web_search"
	FileSearch      Kind = "file_search"
	CodeExecution   Kind = "code_execution"
	ImageCall       Kind = "image_generation" // A call of a tool that makes images, if the upstream told no tokens of it.
	HostedTool      Kind = "hosted_tool"      // A call of a tool that the upstream ran, of which nobody knows whether it costs.
	Request         Kind = "request"
	Told            Kind = "told_cost" // What the upstream said that the answer cost, if nobody can believe it.
)

// tokens reports whether a kind is counted in tokens.
func (k Kind) tokens() bool {
	switch k {
	case WebSearch, FileSearch, CodeExecution, ImageCall, HostedTool, Request, Told:
		return false
	default:
		return true
	}
}

// Provider says which upstream answered.
type Provider struct {
	Name    string // As the gateway's configuration has it.
	Type    string
	BaseURL string // Empty: the vendor's own.
}

// Usage is what one upstream answer used, as it is recorded. Usages are never added up before they have their cost: the
// size of each prompt decides what its tokens cost.
type Usage struct {
	Provider Provider
	// Model is the one that was asked for. The model that answered, which Metadata names, counts more if it has a price.
	Model string
	// At is the instant of the request. It decides which price counts.
	At time.Time
	// BYOK says that the credential was the caller's own.
	BYOK bool

	Input, Output, CacheRead, CacheWrite int64 // Input is without cached tokens.
	// Metadata is the JSON object that is recorded with the usage.
	Metadata []byte
	// Delivered is how many bytes came of the answer, and of others before it. Before is the output of those. They count
	// only if the stream was cut.
	Delivered, Before int64
	// Hosted counts the calls of tools that the upstream ran, as the answer shows them. What the usage itself tells counts
	// more if it is more.
	Hosted map[Kind]int64
	// Unmetered says that the stream was cut before the upstream told what it used: what the prompt cost is unknown, and
	// the output is estimated.
	Unmetered bool
}

// State says what is known of the price of a kind of usage.
type State string

// The states of a price.
const (
	Priced  State = "priced"
	Free    State = "free" // The price is 0.
	Unknown State = "unknown"
)

// Item is the cost of one kind of usage.
type Item struct {
	Kind  Kind            `json:"kind"`
	Count int64           `json:"count"` // Zero: nobody knows how much it was.
	State State           `json:"state"`
	USD   decimal.Decimal `json:"usd"` // Zero if it is free or unknown.
}

// Cost is what a usage cost.
type Cost struct {
	// USD is the sum of what is known.
	USD decimal.Decimal `json:"usd"`
	// Items are the kinds of usage that the answer had. There are none if the upstream itself told the cost.
	Items []Item `json:"items"`
	// Row names the price: "anthropic/claude-opus-5", "config/…" or "upstream". Empty: there is none.
	Row string `json:"row"`
	// Exact says that the row is for this very model, or for an alias or a dated version of it. Other rows matched by a
	// pattern, and may be those of a sibling.
	Exact bool `json:"exact"`
	// Estimated says that the stream was cut and that the output is estimated from the bytes that came.
	Estimated bool `json:"estimated"`
	// Notes say what else decided the cost, for example the factor of a service tier, and why something is unknown.
	Notes []string `json:"notes,omitempty"`
}

// UnknownTokens returns how many tokens have no price.
func (c Cost) UnknownTokens() (n int64) {
	for _, item := range c.Items {
		if item.State == Unknown && item.Kind.tokens() {
			n = sum(n, item.Count)
		}
	}
	return n
}

// HasUnknown reports whether anything has no price.
func (c Cost) HasUnknown() bool {
	for _, item := range c.Items {
		if item.State == Unknown {
			return true
		}
	}
	return false
}

// OutputUSD returns what the output cost.
func (c Cost) OutputUSD() (sum decimal.Decimal) {
	for _, item := range c.Items {
		switch item.Kind {
		case Output, OutputReasoning, OutputAudio:
			sum = sum.Add(item.USD)
		}
	}
	return sum
}
