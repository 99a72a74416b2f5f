package chat_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/wire"
)

// TestFunctionCall has servers that call tools in the older form. The client never sees a call of the gateway's, which is run
// and goes back as a tool call; it sees its own as it came.
func TestFunctionCall(t *testing.T) {
	const (
		ours   = `{"function_call":{"name":"bmcp_a_x","arguments":"{\"a\":1}"}}`
		theirs = `{"function_call":{"name":"Read","arguments":"{}"}}`
	)
	for name, test := range map[string]struct {
		deltas []string
		body   string
		runs   int
		shown  string // Empty: the round's function_call is hidden.
	}{
		"whole":     {[]string{ours}, ours, 1, ""},
		"in pieces": {[]string{`{"function_call":{"name":"bmcp_a_x","arguments":""}}`, `{"function_call":{"arguments":"{\"a\""}}`, `{"function_call":{"arguments":":1}"}}`}, ours, 1, ""},
		"name in pieces": {
			[]string{`{"function_call":{"name":"bmcp_","arguments":""}}`, `{"function_call":{"name":"a_x","arguments":"{\"a\":1}"}}`}, ours, 1, "",
		},
		"theirs": {[]string{theirs}, theirs, 0, `{"name":"Read","arguments":"{}"}`},
		"in both forms": {
			[]string{ours, `{"tool_calls":[{"index":0,"id":"o1","function":{"name":"bmcp_a_x","arguments":"{\"a\":1}"}}]}`},
			strings.TrimSuffix(ours, "}") + `,"tool_calls":[{"id":"o1","function":{"name":"bmcp_a_x","arguments":"{\"a\":1}"}}]}`, 1, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for form, answer := range map[wire.Form]string{
				wire.Stream: chunks("c1", append(test.deltas, `"function_call"`)...),
				wire.Body:   `{"id":"c1","choices":[{"index":0,"message":` + test.body + `,"finish_reason":"function_call"}]}`,
			} {
				answers := []string{answer}
				if test.runs > 0 {
					answers = append(answers, chunks("c2", `{"content":"Done."}`, `"stop"`))
					if form == wire.Body {
						answers[1] = `{"id":"c2","choices":[{"index":0,"message":{"content":"Done."},"finish_reason":"stop"}]}`
					}
				}
				x := exchange{t: t}
				x.run(form, answers...)
				if len(x.turns[0].Calls) != test.runs || x.turns[0].Mixed {
					t.Errorf("form %d: it wants %+v", form, x.turns[0])
				}
				client := string(x.client)
				if strings.Contains(client, "bmcp") || strings.Contains(client, "function_call\":{") != (test.shown != "") || !strings.Contains(client, test.shown) {
					t.Errorf("form %d: the client gets\n%s", form, client)
				}
				if test.runs > 0 {
					if input := x.turns[0].Calls[0].Input; input != `{"a":1}` {
						t.Errorf("form %d: the input is %s", form, input)
					}
					answered(t, []byte(x.bodies[1]))
					if strings.Contains(x.next(), "function_call") || !strings.Contains(x.next(), `"function":{"name":"bmcp_a_x","arguments":"{\"a\":1}"}`) {
						t.Errorf("form %d: the upstream is sent %s", form, x.next())
					}
				}
			}
		})
	}
}
