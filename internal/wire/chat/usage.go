package chat

import "github.com/coder/aibridged/internal/wire"

// figures returns the table of the API's usage figures. The first row of a kind is OpenAI's own name. The others are those
// of servers that copy the API: DeepSeek's hit and miss, Mistral's and Gemini's counts, Anthropic's names, which gateways
// hand on, and what gateways have added themselves. A chain of gateways sends several of them.
//
// Servers report usage once, after the last choice; or beside or within the last choice; or in every chunk, as the figures
// so far.
func figures() wire.Table {
	return wire.Table{
		Rows: []wire.Row{
			{Path: "prompt_tokens", Is: wire.Input},
			{Path: "input_tokens", Is: wire.Input},
			{Path: "completion_tokens", Is: wire.Output},
			{Path: "output_tokens", Is: wire.Output},
			{Path: "total_tokens", Is: wire.Total, Name: "total_tokens"},

			{Path: "prompt_tokens_details.cached_tokens", Is: wire.CacheRead},
			{Path: "prompt_tokens_details.cache_read_tokens", Is: wire.CacheRead},
			{Path: "prompt_tokens_details.cache_read_input_tokens", Is: wire.CacheRead},
			{Path: "input_tokens_details.cached_tokens", Is: wire.CacheRead},
			{Path: "prompt_cache_hit_tokens", Is: wire.CacheRead},
			{Path: "cache_read_input_tokens", Is: wire.CacheRead},
			{Path: "cache_read_tokens", Is: wire.CacheRead},
			{Path: "cached_tokens", Is: wire.CacheRead},
			{Path: "num_cached_tokens", Is: wire.CacheRead},
			{Path: "prompt_token_details.cached_tokens", Is: wire.CacheRead},
			{Path: "input_token_details.cached_tokens", Is: wire.CacheRead},
			{Path: "cached_content_token_count", Is: wire.CacheRead},
			{Path: "prompt_cache_miss_tokens", Is: wire.Uncached},

			{Path: "prompt_tokens_details.cache_write_tokens", Is: wire.CacheWrite},
			{Path: "prompt_tokens_details.cache_creation_tokens", Is: wire.CacheWrite},
			{Path: "prompt_tokens_details.cached_creation_tokens", Is: wire.CacheWrite},
			{Path: "prompt_tokens_details.cache_creation_input_tokens", Is: wire.CacheWrite},
			{Path: "cache_creation_input_tokens", Is: wire.CacheWrite},
			{Path: "cache_creation_tokens", Is: wire.CacheWrite},
			{Path: "cache_write_tokens", Is: wire.CacheWrite},

			{Path: "completion_tokens_details.reasoning_tokens", Is: wire.Reasoning, Name: "completion_reasoning", PartOf: wire.Output},
			{Path: "output_tokens_details.reasoning_tokens", Is: wire.Reasoning, Name: "completion_reasoning", PartOf: wire.Output},
			{Path: "completion_tokens_details.thinking_tokens", Is: wire.Reasoning, Name: "completion_reasoning", PartOf: wire.Output},
			{Path: "completion_token_details.reasoning_tokens", Is: wire.Reasoning, Name: "completion_reasoning", PartOf: wire.Output},
			{Path: "output_token_details.reasoning_tokens", Is: wire.Reasoning, Name: "completion_reasoning", PartOf: wire.Output},
			{Path: "reasoning_tokens", Is: wire.Reasoning, Name: "completion_reasoning", PartOf: wire.Output},

			{Path: "prompt_tokens_details.audio_tokens", Name: "prompt_audio", PartOf: wire.Input},
			{Path: "completion_tokens_details.audio_tokens", Name: "completion_audio", PartOf: wire.Output},
			{
				Path: "completion_tokens_details.accepted_prediction_tokens", Name: "completion_accepted_prediction", PartOf: wire.Output,
			},
			{
				Path: "completion_tokens_details.rejected_prediction_tokens", Name: "completion_rejected_prediction", PartOf: wire.Output,
			},
		},
	}
}
