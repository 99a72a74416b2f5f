package responses

import "github.com/coder/aibridged/internal/wire"

// figures returns the table of the API's usage figures. The first row of a kind is OpenAI's own name, the others are those
// of gateways that translate from another API. Usage comes with the event that ends an answer, in whatever way it ends.
//
// What hosted tools used is in tool_usage, beside usage.
func figures() wire.Table {
	return wire.Table{
		Rows: []wire.Row{
			{Path: "input_tokens", Is: wire.Input},
			{Path: "prompt_tokens", Is: wire.Input},
			{Path: "output_tokens", Is: wire.Output},
			{Path: "completion_tokens", Is: wire.Output},
			{Path: "total_tokens", Is: wire.Total, Name: "total_tokens"},

			{Path: "input_tokens_details.cached_tokens", Is: wire.CacheRead},
			{Path: "prompt_tokens_details.cached_tokens", Is: wire.CacheRead},
			{Path: "input_tokens_details.cache_read_input_tokens", Is: wire.CacheRead},
			{Path: "prompt_cache_hit_tokens", Is: wire.CacheRead},
			{Path: "cache_read_input_tokens", Is: wire.CacheRead},
			{Path: "cached_tokens", Is: wire.CacheRead},
			{Path: "num_cached_tokens", Is: wire.CacheRead},
			{Path: "prompt_token_details.cached_tokens", Is: wire.CacheRead},
			{Path: "input_token_details.cached_tokens", Is: wire.CacheRead},
			{Path: "cached_content_token_count", Is: wire.CacheRead},
			{Path: "prompt_cache_miss_tokens", Is: wire.Uncached},

			{Path: "input_tokens_details.cache_write_tokens", Is: wire.CacheWrite},
			{Path: "input_tokens_details.cache_creation_tokens", Is: wire.CacheWrite},
			{Path: "cache_creation_input_tokens", Is: wire.CacheWrite},
			{Path: "cache_creation_tokens", Is: wire.CacheWrite},
			{Path: "input_tokens_details.cache_write_tokens_details.ttl_30m_tokens", Name: "cache_ttl_30m_input", PartOf: wire.CacheWrite},
			{Path: "input_tokens_details.cache_write_tokens_details.ttl_12h_tokens", Name: "cache_ttl_12h_input", PartOf: wire.CacheWrite},

			{Path: "output_tokens_details.reasoning_tokens", Is: wire.Reasoning, Name: "output_reasoning", PartOf: wire.Output},
			{Path: "completion_tokens_details.reasoning_tokens", Is: wire.Reasoning, Name: "output_reasoning", PartOf: wire.Output},
			{Path: "completion_token_details.reasoning_tokens", Is: wire.Reasoning, Name: "output_reasoning", PartOf: wire.Output},
			{Path: "output_token_details.reasoning_tokens", Is: wire.Reasoning, Name: "output_reasoning", PartOf: wire.Output},
			{Path: "reasoning_tokens", Is: wire.Reasoning, Name: "output_reasoning", PartOf: wire.Output},

			{Path: "tool_usage.web_search.num_requests", Name: "web_search_requests"},
			{Path: "tool_usage.file_search.num_requests", Name: "file_search_requests"},
			{Path: "tool_usage.code_interpreter.num_requests", Name: "code_interpreter_requests"},
			{Path: "tool_usage.image_gen.input_tokens", Name: "image_gen_input"},
			{Path: "tool_usage.image_gen.output_tokens", Name: "image_gen_output"},
		},
	}
}
