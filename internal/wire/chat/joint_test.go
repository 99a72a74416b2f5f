package chat_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/coder/aibridged/internal/wire"
)

// TestJointTwins has answers of several rounds, streamed and as bodies: the client has the same of both.
func TestJointTwins(t *testing.T) {
	for name, test := range map[string]struct {
		streams, bodies []string
		want            seen
		next            string // The messages that the last round's request has behind the client's.
	}{
		"text": {
			streams: []string{chunks("c1", `{"role":"assistant","content":"a"}`, `{"content":"b"}`, `"stop"`, `-{"total_tokens":3}`)},
			bodies:  []string{`{"id":"c1","created":2,"choices":[{"message":{"role":"assistant","content":"ab"},"finish_reason":"stop"}],"usage":{"total_tokens":3}}`},
			want:    seen{ID: "c1", Created: "2", Content: "ab", Finish: "stop", Usage: `{"total_tokens":3}`},
		},
		"ours": {
			streams: []string{
				chunks("c1", `{"role":"assistant","content":"a\u0062 "}`,
					`{"tool_calls":[{"index":0,"id":"o1","type":"function","function":{"name":"bmcp_a_x","arguments":""}}]}`,
					`{"tool_calls":[{"index":0,"function":{"arguments":"{\"p\""}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":":\"\\u00e9\"}"}}]}`,
					`"tool_calls"`, `-{"total_tokens":3}`),
				chunks("c22", `{"role":"assistant","content":""}`, `{"content":"c"}`, `{"content":"d"}`, `{"content":"e"}`, `"stop"`,
					`-{"total_tokens":4}`),
			},
			bodies: []string{
				`{"id":"c1","created":2,"choices":[{"message":{"role":"assistant","content":"a\u0062 ",` +
					`"tool_calls":[{"id":"o1","type":"function","function":{"name":"bmcp_a_x","arguments":"{\"p\":\"\\u00e9\"}"}}]},` +
					`"finish_reason":"tool_calls"}],"usage":{"total_tokens":3}}`,
				`{"id":"c22","created":3,"choices":[{"message":{"role":"assistant","content":"cde"},"finish_reason":"stop"}],"usage":{"total_tokens":4}}`,
			},
			want: seen{ID: "c1", Created: "2", Content: "ab cde", Finish: "stop", Usage: `{"total_tokens":7}`},
			next: `{"role":"assistant","content":"a\u0062 ",` +
				`"tool_calls":[{"id":"o1","type":"function","function":{"name":"bmcp_a_x","arguments":"{\"p\":\"\\u00e9\"}"}}]},` +
				`{"role":"tool","tool_call_id":"o1","content":"did bmcp_a_x{\"p\":\"\\u00e9\"}"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			streamed, blocking := exchange{t: t}, exchange{t: t}
			streamed.run(wire.Stream, test.streams...)
			blocking.run(wire.Body, test.bodies...)
			got := readStream(streamed.client)
			if got.Usages != 1 || got.Dones != 1 || got.Roles != 1 {
				t.Errorf("%d usages, %d roles and %d ends in\n%s", got.Usages, got.Roles, got.Dones, streamed.client)
			}
			sameSeen(t, got, test.want)
			sameSeen(t, readBody(blocking.client), test.want)
			if test.next != "" && (streamed.next() != test.next || blocking.next() != test.next) {
				t.Errorf("the next request has\n%s\nand\n%s\nwant\n%s", streamed.next(), blocking.next(), test.next)
			}
			if !reflect.DeepEqual(streamed.kept, blocking.kept) {
				t.Errorf("kept\n%s %s\nand\n%s %s", streamed.kept.Keys, streamed.kept.Turn, blocking.kept.Keys, blocking.kept.Turn)
			}
		})
	}
}

func sameSeen(t *testing.T, got, want seen) {
	t.Helper()
	text := func(s seen) string {
		encoded, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(encoded)
	}
	if text(got) != text(want) {
		t.Errorf("the client has\n%s\nwant\n%s", text(got), text(want))
	}
}
