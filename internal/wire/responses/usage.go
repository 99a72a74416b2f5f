package responses

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// usage is what an answer cost. It comes with the event that ends the answer, whatever the end is.
type usage struct {
	told bool

	input, output, sum wire.Figure

	cached, cacheWrite wire.Figure // Part of input.
	reasoning          wire.Figure // Part of output.
}

// read notes a usage object. Anything else it ignores.
func (u *usage) read(object gjson.Result) {
	if !object.IsObject() {
		return
	}
	u.told = true
	u.input.Read(object.Get("input_tokens"))
	u.output.Read(object.Get("output_tokens"))
	u.sum.Read(object.Get("total_tokens"))
	u.cached.Read(object.Get("input_tokens_details.cached_tokens"))
	u.cacheWrite.Read(object.Get("input_tokens_details.cache_write_tokens"))
	u.reasoning.Read(object.Get("output_tokens_details.reasoning_tokens"))
}

// total returns what is known so far, or nil if nothing was told.
func (u *usage) total(tier string) *wire.Usage {
	if !u.told {
		return nil
	}
	input, consistent := u.input.Less(u.cached, u.cacheWrite)
	return &wire.Usage{
		Input:      input,
		Output:     u.output.Value(),
		CacheRead:  u.cached.Value(),
		CacheWrite: u.cacheWrite.Value(),
		Extra: wire.Extras(map[string]wire.Figure{
			"output_reasoning": u.reasoning,
			"total_tokens":     u.sum,
		}),
		ServiceTier:  tier,
		Inconsistent: !consistent || u.reasoning.Exceeds(u.output),
	}
}
