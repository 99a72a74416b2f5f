package rederive_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	wirechat "github.com/coder/aibridged/internal/wire/chat"
	wiremessages "github.com/coder/aibridged/internal/wire/messages"
	wireresponses "github.com/coder/aibridged/internal/wire/responses"
)

// TestUnread has members and events that are not read, in a stream and in a body.
func TestUnread(t *testing.T) {
	const json = "application/json"
	for name, test := range map[string]struct {
		format, contentType, answer string
		members, events             string
	}{
		"messages": {
			rederive.FormatMessages, stream,
			`data: {"type":"message_start","message":{"usage":{"input_tokens":1,"new":2,"cache_creation":{"ephemeral_2h_input_tokens":3}}}}` + "\n\n" +
				`data: {"type":"dream"}` + "\n\n" + `data: {"type":"dream"}` + "\n\n" + "event: ping\ndata: {}\n\n: comment\n\n" +
				`data: {"type":"message_delta","usage":{"new":5,"none":null,"iterations":[{"type":"message","input_tokens":1,"x":2},{"type":"y","x":2}]}}` + "\n\n" +
				`data: {"type":"message_stop"}` + "\n\n",
			"cache_creation.ephemeral_2h_input_tokens=1 iterations.*.x=1 new=2", "dream=2",
		},
		"chat": {
			rederive.FormatChat, stream,
			`data: {"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":1,"cost":0.5,"cost_details":{"a":1,"b":"c"},"is_byok":false}}` + "\n\n" +
				`data: {"object":"chat.dream"}` + "\n\n" + `data: {"error":{"message":"m"}}` + "\n\ndata: [DONE]\n\n",
			"cost=1 cost_details.a=1 cost_details.b=1 is_byok=1", "chat.dream=1",
		},
		"responses": {
			rederive.FormatResponses, stream,
			`data: {"type":"response.dream.delta"}` + "\n\n" + `data: {"type":"response.refusal.delta"}` + "\n\n" +
				`data: {"type":"response.completed","response":{"usage":{"input_tokens":1,"dreams":2},"tool_usage":{"web_search":{"num_requests":1,"pages":2}}}}` + "\n\n",
			"dreams=1 tool_usage.web_search.pages=1", "response.dream.delta=1",
		},
		"no figures": {
			rederive.FormatChat, stream,
			`data: {"choices":[],"usage":{"prompt_tokens":"many","completion_tokens":"7","total_tokens":-1}}` + "\n\n" +
				`data: {"choices":[{"delta":{"usage":["a"]}}],"usage":"b"}` + "\n\n" + "data: [DONE]\n\n",
			"prompt_tokens=1 total_tokens=1 usage=2", "",
		},
		"body": {
			rederive.FormatResponses, json, `{"object":"response","usage":{"output_tokens":1,"` + strings.Repeat("é", 100) + `":2}}`,
			strings.Repeat("é", 64) + "=1", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts, err := rederive.Derive(exchange(test.format, anyRequest, test.contentType, test.answer))
			if err != nil {
				t.Fatal(err)
			}
			if got := counts(facts.Unread.Members); got != test.members {
				t.Errorf("members %q, want %q", got, test.members)
			}
			if got := counts(facts.Unread.Events); got != test.events {
				t.Errorf("events %q, want %q", got, test.events)
			}
		})
	}
}

func counts(of map[string]int) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all = append(all, fmt.Sprintf("%s=%d", name, of[name]))
	}
	return strings.Join(all, " ")
}

// TestBothDecodersReadTheSame holds what this package reads against the gateway's tables: what it reports as not read,
// the gateway does not read either.
func TestBothDecodersReadTheSame(t *testing.T) {
	for name, test := range map[string]struct {
		format wire.Format
		answer string // With a usage object for %s, and what stands beside it.
	}{
		rederive.FormatMessages:  {wiremessages.Format(), `{"type":"message","usage":%s}`},
		rederive.FormatChat:      {wirechat.Format(), `{"object":"chat.completion","usage":%s}`},
		rederive.FormatResponses: {wireresponses.Format(), `{"object":"response","usage":%s}`},
	} {
		for _, row := range test.format.Figures.Rows {
			usage := "7"
			for part := range reversed(strings.Split(row.Path, ".")) {
				usage = fmt.Sprintf(`{%q:%s}`, part, usage)
			}
			facts, err := rederive.Derive(exchange(name, anyRequest, "application/json", fmt.Sprintf(test.answer, usage)))
			if err != nil || len(facts.Unread.Members) > 0 || len(facts.TokenUsages) != 1 {
				t.Errorf("%s: the gateway reads %s: %v, %v", name, row.Path, facts.Unread, err)
			}
		}
		for _, label := range test.format.Figures.Labels {
			facts, err := rederive.Derive(exchange(name, anyRequest, "application/json", fmt.Sprintf(test.answer, `{"`+label+`":"a"}`)))
			if err != nil || len(facts.Unread.Members) > 0 || facts.TokenUsages[0].Metadata[label] != "a" {
				t.Errorf("%s: the gateway reads %s: %v, %v", name, label, facts.Unread, err)
			}
		}
		for _, kind := range eventTypes() {
			data := fmt.Sprintf(`{"type":%q}`, kind)
			facts, err := rederive.Derive(exchange(name, anyRequest, stream, "data: "+data+"\n\n"))
			tracker := test.format.Track(wire.Stream, nil)
			tracker.Observe(sse.Event{Data: []byte(data)})
			if reads := tracker.Answer().Unread == 0; err != nil || reads != (len(facts.Unread.Events) == 0) {
				t.Errorf("%s: the gateway reads %s: %t, and here %v, %v", name, kind, reads, facts.Unread, err)
			}
		}
	}
}

func reversed(parts []string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, part := range slices.Backward(parts) {
			if !yield(part) {
				return
			}
		}
	}
}

// eventTypes returns the types of all APIs' events, and others that do not exist. Events that are read only with what
// they must have are left out.
func eventTypes() []string {
	all := []string{"ping", "keepalive", "content_block_stop", "message_stop", "message", "error", "dream", "response", "chat.completion.chunk"}
	parts := []string{
		"content_part", "output_text", "output_text.annotation", "refusal", "reasoning_part", "reasoning_summary_part",
		"reasoning_summary_text", "reasoning_summary", "reasoning_text", "reasoning", "function_call_arguments",
		"custom_tool_call_input", "mcp_call_arguments", "file_search_call", "web_search_call", "code_interpreter_call",
		"code_interpreter_call_code", "image_generation_call", "mcp_call", "mcp_list_tools", "shell_call_command",
		"shell_call_output_content", "apply_patch_call_operation_diff", "compaction", "audio", "audio.transcript", "steer", "dream",
	}
	ends := []string{
		"added", "done", "delta", "in_progress", "searching", "completed", "failed", "interpreting", "generating", "partial_image",
		"compacting", "accepted", "pending", "dreaming",
	}
	for _, part := range parts {
		for _, end := range ends {
			all = append(all, "response."+part+"."+end)
		}
	}
	return append(all, "response.created", "response.queued", "response.in_progress", "response.completed", "response.incomplete", "response.failed")
}
