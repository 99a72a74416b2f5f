package messages

import (
	"strings"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
)

// usage is the usage of an answer. The figures of message_start are preliminary, those of message_delta cumulative.
type usage struct {
	told  bool
	final bool // Figures came after those of message_start.
	tier  string

	input, output         wire.Figure
	cacheRead, cacheWrite wire.Figure

	write5m, write1h  wire.Figure // Part of cacheWrite.
	thinking          wire.Figure // Part of output.
	searches, fetches wire.Figure
}

// read reads a usage object. It ignores any other value.
func (u *usage) read(object gjson.Result) {
	if !object.IsObject() {
		return
	}
	u.told = true
	object.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "input_tokens":
			u.input.Read(value)
		case "output_tokens":
			u.output.Read(value)
		case "cache_read_input_tokens":
			u.cacheRead.Read(value)
		case "cache_creation_input_tokens":
			u.cacheWrite.Read(value)
		case "cache_creation":
			u.write5m.Read(value.Get("ephemeral_5m_input_tokens"))
			u.write1h.Read(value.Get("ephemeral_1h_input_tokens"))
		case "output_tokens_details":
			u.thinking.Read(value.Get("thinking_tokens"))
		case "server_tool_use":
			u.searches.Read(value.Get("web_search_requests"))
			u.fetches.Read(value.Get("web_fetch_requests"))
		case "service_tier":
			if value.Type == gjson.String {
				u.tier = strings.Clone(value.Str)
			}
		}
		return true
	})
}

// total returns the usage so far, or nil if none was reported.
func (u *usage) total() *wire.Usage {
	if !u.told {
		return nil
	}
	_, consistent := u.cacheWrite.Less(u.write5m, u.write1h)
	return &wire.Usage{
		Input:      u.input.Value(),
		Output:     u.output.Value(),
		CacheRead:  u.cacheRead.Value(),
		CacheWrite: u.cacheWrite.Value(),
		Extra: wire.Extras(map[string]wire.Figure{
			"cache_ephemeral_5m_input": u.write5m,
			"cache_ephemeral_1h_input": u.write1h,
			"web_search_requests":      u.searches,
			"web_fetch_requests":       u.fetches,
			"output_thinking":          u.thinking,
		}),
		ServiceTier:  u.tier,
		Preliminary:  !u.final,
		Inconsistent: !consistent || u.thinking.Exceeds(u.output),
	}
}
