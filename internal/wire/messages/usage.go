package messages

import "github.com/coder/aibridged/internal/wire"

// figures returns the table of the API's usage figures. The figures of message_start are preliminary, those of
// message_delta cumulative.
//
// The figures at the top are those of the message that the client gets. What the API did besides on the client's behalf
// is billed too and is only in the list of iterations: a compaction, or the advice of another model. That list has the
// message itself too, as the sum of its own iterations, which adds nothing.
func figures() wire.Table {
	table := wire.Table{
		Rows: []wire.Row{
			{Path: "input_tokens", Is: wire.Input},
			{Path: "output_tokens", Is: wire.Output},
			{Path: "cache_read_input_tokens", Is: wire.CacheRead},
			{Path: "cache_creation_input_tokens", Is: wire.CacheWrite},
			{Path: "cache_creation.ephemeral_5m_input_tokens", Name: "cache_ephemeral_5m_input", PartOf: wire.CacheWrite},
			{Path: "cache_creation.ephemeral_1h_input_tokens", Name: "cache_ephemeral_1h_input", PartOf: wire.CacheWrite},
			{Path: "output_tokens_details.thinking_tokens", Is: wire.Reasoning, Name: "output_thinking", PartOf: wire.Output},

			// What gateways leave of the Chat Completions API's names where they translate from it.
			{Path: "prompt_tokens", Is: wire.WithCached},
			{Path: "completion_tokens", Is: wire.Output},
			{Path: "total_tokens", Is: wire.Total, Name: "total_tokens"},
			{Path: "prompt_tokens_details.cached_tokens", Is: wire.CacheRead},
			{Path: "completion_tokens_details.reasoning_tokens", Is: wire.Reasoning, Name: "output_thinking", PartOf: wire.Output},

			{Path: "server_tool_use.web_search_requests", Name: "web_search_requests"},
			{Path: "server_tool_use.web_fetch_requests", Name: "web_fetch_requests"},
			{Path: "server_tool_use.code_execution_requests", Name: "code_execution_requests"},
			{Path: "server_tool_use.tool_search_requests", Name: "tool_search_requests"},
			{Path: "iterations.message.input_tokens"},
		},
		Labels:     []string{"service_tier", "speed", "inference_geo"},
		CacheApart: true,
		Cumulative: true,
	}
	for _, of := range [][2]string{{"compaction", "compaction"}, {"advisor_message", "advisor"}, {"*", "other_iterations"}} {
		kind, name := of[0], of[1]
		table.Rows = append(table.Rows,
			wire.Row{Path: "iterations." + kind + ".input_tokens", Name: name + "_input"},
			wire.Row{Path: "iterations." + kind + ".output_tokens", Name: name + "_output"},
			wire.Row{Path: "iterations." + kind + ".cache_read_input_tokens", Name: name + "_cache_read"},
			wire.Row{Path: "iterations." + kind + ".cache_creation_input_tokens", Name: name + "_cache_write"},
		)
	}
	return table
}
