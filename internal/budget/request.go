package budget

import (
	"time"

	"github.com/google/uuid"
)

// Request is what is known of a request before it is sent.
type Request struct {
	Interception uuid.UUID
	User         string // The id.
	Started      time.Time

	ProviderName, ProviderType string
	Model                      string // Empty: the request does not name it.
	BYOK                       bool   // The credential is the caller's own.

	// Bytes is the size of the body, uncoded.
	Bytes int64
	// MaxTokens is how many tokens one answer may have. Zero: the request does not say.
	MaxTokens int64
	// Answers is how many answers there are to be. Zero: one.
	Answers int64
	// Wordless says that the answer has no tokens, as with embeddings.
	Wordless bool
	// ServiceTier, Speed and InferenceGeo are how the request wants to be served, as far as that decides its price.
	ServiceTier, Speed, InferenceGeo string
}

// bytesPerToken is about how many bytes of a body are a token. JSON, code and most languages have more, so it rather
// takes a request for larger than it is.
const bytesPerToken = 4

// mostAnswers is how many answers to one request are believed.
const mostAnswers = 128

// tokens returns how many tokens the request has at most: those of its prompt, by the size of its body, and those of its answers,
// by what it asks for. Neither is more than its model can read and write.
func (r Request) tokens() (input, output int64) {
	can := capacityOf(r.Model)
	input = min(max((r.Bytes+bytesPerToken-1)/bytesPerToken, 1), can.input)
	if r.Wordless {
		return input, 0
	}
	output = can.output
	if r.MaxTokens > 0 {
		output = min(r.MaxTokens, can.output)
	}
	return input, output * min(max(r.Answers, 1), mostAnswers)
}

// Rates are what the tokens of a request cost. The size of the prompt picks one.
type Rates struct {
	Tiers []Rate // By Above, which is 0 for the first.
	// Request is the price of a request itself.
	Request Amount
}

// Rate is what each token costs of a request whose prompt has more than Above.
type Rate struct {
	Above         int64
	Input, Output Amount
}

// Free reports whether a request costs nothing, however large it is.
func (r Rates) Free() bool {
	for _, t := range r.Tiers {
		if t.Input != 0 || t.Output != 0 {
			return false
		}
	}
	return r.Request == 0 && len(r.Tiers) > 0
}

// mostReserved is the largest reservation: no request costs a hundred thousand dollars.
const mostReserved = 100_000 * Dollar

// Cost returns what so many tokens cost.
func (r Rates) Cost(input, output int64) Amount {
	var at Rate
	for _, t := range r.Tiers {
		if t.Above == 0 || input > t.Above {
			at = t
		}
	}
	return min(r.Request.plus(at.Input.times(input)).plus(at.Output.times(output)), mostReserved)
}

// Estimate returns what a request may cost.
func (r Rates) Estimate(request Request) Amount { return r.Cost(request.tokens()) }

// Usage is what one upstream answer used, as it is recorded.
type Usage struct {
	Input, Output, CacheRead, CacheWrite int64  // Input is without cached tokens.
	Metadata                             []byte // A JSON object.
}

// Ending is how a request ended. The zero Ending is of one that cost nothing.
type Ending struct {
	// Usages are those that the upstream told.
	Usages []Usage
	// Delivered is how many bytes came of the answers. It counts where one was cut.
	Delivered int64
	// Unmeasured says that there is no usage, though the request may have cost something: its answer was cut, or tells none.
	Unmeasured bool
}
