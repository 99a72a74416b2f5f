package rederive_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
)

// TestOddAnswers has answers whose JSON readers understand differently: the gateway and the second decoder read them in
// the same way, and the wanted texts are in the records.
func TestOddAnswers(t *testing.T) {
	const (
		start = `{"type":"message_start","message":{"id":"m","model":"x","usage":{"input_tokens":1,"output_tokens":1}}}`
		stop  = `{"type":"message_stop"}`
		block = `{"type":"content_block_start","index":%s,"content_block":{"type":"tool_use","id":"c%s","name":"f","input":{}}}`
		input = `{"type":"content_block_delta","index":%s,"delta":{"type":"input_json_delta","partial_json":"{\"a\":%s}"}}`
	)
	stream := func(events ...string) string { return "data: " + strings.Join(events, "\n\ndata: ") + "\n\n" }
	gateway := newGateway(t)
	for name, test := range map[string]struct {
		format, answer string
		records        []string // Texts in the records, as %+v shows them.
	}{
		"the last of two types counts": {
			rederive.FormatMessages, stream(start, `{"type":"ping","type":"message_delta","usage":{"output_tokens":7}}`, `{"type":"message_start","type":"message_stop"}`),
			[]string{"OutputTokens:7", "ErrorType: "},
		},
		"the last of two types in a stream of responses": {
			rederive.FormatResponses, stream(`{"type":"response.created","response":{"id":"r"},"type":"response.completed","response":{"id":"s","usage":{"input_tokens":3}}}`),
			[]string{"MessageID:s", "InputTokens:3", "ErrorType: "},
		},
		"indexes that are no whole numbers": {
			rederive.FormatMessages, stream(start,
				fmt.Sprintf(block, "1.0", "1"), fmt.Sprintf(input, "1", "1"), fmt.Sprintf(block, `"2"`, "2"), fmt.Sprintf(input, "0.5", "2"),
				fmt.Sprintf(block, "-1", "3"), fmt.Sprintf(input, "null", "3"), stop),
			[]string{`Input:{"a":1}`, `Input:{"a":2}`, `Input:{"a":3}`},
		},
		"indexes of choices and calls that are no whole numbers": {
			rederive.FormatChat, stream(`{"id":"c","model":"m","choices":[{"index":"1","delta":{"reasoning":"a","tool_calls":[{"index":1.5,"id":"x","function":{"name":"f","arguments":"1"}}]}}]}`,
				`{"choices":[{"index":0.5,"delta":{"reasoning":"b","tool_calls":[{"index":-3,"function":{"arguments":"2"}}]},"finish_reason":"stop"}]}`, "[DONE]"),
			[]string{"Content:ab", "Input:12"},
		},
		"halves of characters in names": {
			rederive.FormatMessages, stream(strings.Replace(start, `"id":"m"`, `"id":"m\ud83d\u0041\ude00"`, 1),
				`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"\ud83d\ude00","name":"f\ud83d","server_name":"s\udc00","input":{}}}`, stop),
			[]string{"MessageID:m\uFFFDA\uFFFD", "ToolCallID:😀", "Tool:f\uFFFD", "server_name:s\uFFFD"},
		},
		"characters of six bytes": {
			rederive.FormatChat, stream("{\"id\":\"c\xed\xa0\xbd\xed\xb8\x80\",\"model\":\"m\",\"choices\":[{\"delta\":{\"reasoning\":\"a\xed\xa0\xbd\xed\xb8\x80b\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"\xed\xa0\xbd\":\"\xff\"}}", "[DONE]"),
			[]string{"sanitized:true"},
		},
		"an input that is an empty string": {
			rederive.FormatMessages, stream(start, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c","name":"f","input":""}}`, stop),
			[]string{"Input:{}"},
		},
		"a list of calls with what are none": {
			rederive.FormatChat, stream(`{"id":"c","model":"m","choices":[null,7,{"delta":{"tool_calls":[null,"x",{"id":"a","function":{"name":"f","arguments":{}}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`, "[DONE]"),
			[]string{"Tool:f", "unread:1"},
		},
		"usage that is none": {
			rederive.FormatChat, stream(`{"id":"c","model":"m","choices":[{"delta":{},"finish_reason":"stop"}],"usage":[1]}`, `{"choices":[],"usage":{"prompt_tokens":1}}`, "[DONE]"),
			[]string{"unread:1"},
		},
		"a ping that claims to be an error": {
			rederive.FormatChat, "event: ping\ndata: {\"error\":{\"message\":\"m\"}}\n\n" + stream(`{"id":"c","model":"m","choices":[{"delta":{},"finish_reason":"stop"}]}`, "[DONE]"),
			[]string{"ErrorType: "},
		},
		"a chunk that is called an error": {
			rederive.FormatChat, stream(`{"id":"c","model":"m","choices":[{"delta":{},"finish_reason":"stop"}],"type":"error","message":"no"}`),
			[]string{"ErrorType:unknown", "ErrorMessage:no"},
		},
		"figures in strings": {
			rederive.FormatMessages, stream(start, `{"type":"message_delta","delta":{"usage":{"output_tokens":"7"}},"usage":{"cache_read_input_tokens":"3","total_tokens":"11"}}`, stop),
			[]string{"OutputTokens:7", "CacheReadInputTokens:3", "ErrorType: "},
		},
		"figures that are none": {
			rederive.FormatResponses, stream(`{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":"3 tokens","output_tokens":" 4","total_tokens":"0x5"},"tool_usage":{"web_search":{"num_requests":"x"}}}}`),
			[]string{"InputTokens:0", "OutputTokens:0", "unread:1", "Unread:1"},
		},
		"names of two APIs that agree": {
			rederive.FormatMessages, stream(start, `{"type":"message_delta","usage":{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":3,"prompt_tokens":8,"completion_tokens":7,"total_tokens":15}}`, stop),
			[]string{"InputTokens:5", "OutputTokens:7", "CacheReadInputTokens:3", "map[model:x raw"},
		},
		"names of two APIs that do not": {
			rederive.FormatMessages, stream(start, `{"type":"message_delta","usage":{"input_tokens":5,"cache_read_input_tokens":3,"prompt_tokens":9}}`, stop),
			[]string{"InputTokens:5", "inconsistent:true"},
		},
		"more cached than there is under another API's names": {
			rederive.FormatMessages, stream(`{"type":"message_start","message":{"id":"m","model":"x","usage":{"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":6}}}}`, stop),
			[]string{"InputTokens:0", "CacheReadInputTokens:6", "inconsistent:true"},
		},
		"errors in a delta and in its choice": {
			rederive.FormatChat, stream(`{"id":"c","model":"m","choices":[{"delta":{"error":{"message":"second"}},"error":{"message":"first"}}]}`),
			[]string{"ErrorMessage:first"},
		},
		"an error in a delta that is none": {
			rederive.FormatChat, stream(`{"id":"c","model":"m","choices":[{"delta":{"error":7},"finish_reason":"stop"}]}`, "[DONE]"),
			[]string{"ErrorType: ", "Unread:1"},
		},
		"sums in a list that no integer holds": {
			rederive.FormatMessages, stream(start, `{"type":"message_delta","usage":{"iterations":[{"type":"compaction","input_tokens":9223372036854775807},{"type":"compaction","input_tokens":2}]}}`, stop),
			[]string{"compaction_input:9223372036854775807", "inconsistent:true"},
		},
		"figures that no integer holds in a sum": {
			rederive.FormatChat, stream(`{"id":"c","model":"m","choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807,"total_tokens":1,"cached_tokens":9223372036854775807,"cache_write_tokens":9223372036854775807}}`, "[DONE]"),
			[]string{"inconsistent:true"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			body := map[string]string{
				rederive.FormatMessages:  `{"model":"m","stream":true,"messages":[{"role":null},{"role":"system","content":"You are Cline"}]}`,
				rederive.FormatChat:      `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":null},{"role":"system","content":"You are Cline"}]}`,
				rederive.FormatResponses: `{"model":"m","stream":true,"input":[{"role":null},{"role":"system","content":"You are Cline"}]}`,
			}[test.format]
			answer := upstream{
				status: http.StatusOK, header: http.Header{"Content-Type": {"text/event-stream"}}, body: []byte(test.answer), whole: true,
				clientGone: -1, isStream: true, chunk: 100,
			}
			p := gateway.playPlain(t, test.format, ask{header: http.Header{}, body: body, stream: true, hasUsage: true}, answer)
			for _, wrong := range p.check(test.format) {
				t.Error(wrong)
			}
			var records strings.Builder
			for _, record := range p.records {
				fmt.Fprintf(&records, "%+v\n", record)
			}
			for _, text := range test.records {
				if !strings.Contains(records.String(), text) {
					t.Errorf("no %q in\n%s", text, records.String())
				}
			}
		})
	}
}
