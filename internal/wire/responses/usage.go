package responses

import (
	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// usage is the usage of an answer. It comes with the event that ends the answer, in whatever way the answer ends.
type usage struct {
	told bool

	input, output, sum wire.Figure

	cached, cacheWrite wire.Figure // Part of input.
	reasoning          wire.Figure // Part of output.
}

// read reads a usage object. It ignores any other value.
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

// total returns the usage so far, or nil if none was reported.
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
