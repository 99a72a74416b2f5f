package rederive_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
)

// TestTools has answers with calls of the gateway's tools, and of others. Each row says which calls are the gateway's, by
// their ids, and whether the answer goes on with them in another round or is the client's, too.
func TestTools(t *testing.T) {
	const (
		messages  = rederive.FormatMessages
		chat      = rederive.FormatChat
		responses = rederive.FormatResponses
	)
	answers := map[string]string{
		messages:  `{"type":"message","id":"m","content":[%s],"stop_reason":"%s"}`,
		chat:      `{"object":"chat.completion","id":"m","choices":[{"index":0,"message":{"tool_calls":[%s]},"finish_reason":"%s"}]}`,
		responses: `{"object":"response","id":"m","output":[%s],"status":"%s"}`,
	}
	block := func(kind, id, name string) string {
		return fmt.Sprintf(`{"type":%q,"id":%q,"name":%q,"input":{}}`, kind, id, name)
	}
	function := func(id, name string) string {
		return fmt.Sprintf(`{"type":"function","id":%q,"function":{"name":%q,"arguments":"{}"}}`, id, name)
	}
	item := func(kind, id, name, more string) string {
		return fmt.Sprintf(`{"type":%q,"call_id":%q,"name":%q,"arguments":"{}"%s}`, kind, id, name, more)
	}
	for name, test := range map[string]struct {
		format, tools, calls, stop string
		injected, then             string
	}{
		"messages":                {messages, ``, block("tool_use", "a", "bmcp_x"), "tool_use", "a", "runs"},
		"messages, two":           {messages, ``, block("tool_use", "a", "bmcp_x") + "," + block("tool_use", "b", "bmcp_y"), "tool_use", "a b", "runs"},
		"messages, mixed":         {messages, `{"name":"f"}`, block("tool_use", "a", "bmcp_x") + "," + block("tool_use", "b", "f"), "tool_use", "a", "mixed"},
		"messages, the client's":  {messages, `{"name":"bmcp_x"}`, block("tool_use", "a", "bmcp_x"), "tool_use", "", ""},
		"messages, a server tool": {messages, ``, block("tool_use", "a", "bmcp_x") + "," + block("server_tool_use", "b", "web_search"), "tool_use", "a", "runs"},
		"messages, of a server":   {messages, ``, `{"type":"mcp_tool_use","id":"a","name":"bmcp_x","server_name":"s","input":{}}`, "tool_use", "", ""},
		"messages, cut":           {messages, ``, block("tool_use", "a", "bmcp_x"), "max_tokens", "a", ""},
		"messages, refused":       {messages, ``, block("tool_use", "a", "bmcp_x"), "refusal", "a", ""},
		"messages, paused":        {messages, ``, block("tool_use", "a", "bmcp_x"), "pause_turn", "a", ""},

		"chat":                        {chat, ``, function("a", "bmcp_x"), "tool_calls", "a", "runs"},
		"chat, finished with stop":    {chat, ``, function("a", "bmcp_x"), "stop", "a", "runs"},
		"chat, mixed":                 {chat, `{"type":"function","function":{"name":"f"}}`, function("a", "bmcp_x") + "," + function("b", "f"), "tool_calls", "a", "mixed"},
		"chat, the client's":          {chat, `{"type":"function","function":{"name":"bmcp_x"}}`, function("a", "bmcp_x"), "tool_calls", "", ""},
		"chat, the client's own text": {chat, `{"type":"custom","custom":{"name":"bmcp_x"}}`, `{"type":"custom","id":"a","custom":{"name":"bmcp_x","input":"{}"}}`, "tool_calls", "", ""},
		"chat, cut":                   {chat, ``, function("a", "bmcp_x"), "length", "a", ""},

		"responses":               {responses, ``, item("function_call", "a", "bmcp_x", ""), "completed", "a", "runs"},
		"responses, mixed":        {responses, `{"type":"function","name":"f"}`, item("function_call", "a", "bmcp_x", "") + "," + item("function_call", "b", "f", ""), "completed", "a", "mixed"},
		"responses, mixed text":   {responses, `{"type":"custom","name":"f"}`, item("function_call", "a", "bmcp_x", "") + "," + item("custom_tool_call", "b", "f", ""), "completed", "a", "mixed"},
		"responses, mixed shell":  {responses, `{"type":"local_shell"}`, item("function_call", "a", "bmcp_x", "") + "," + item("local_shell_call", "b", "", ""), "completed", "a", "mixed"},
		"responses, the client's": {responses, `{"type":"function","name":"bmcp_x"}`, item("function_call", "a", "bmcp_x", ""), "completed", "", ""},
		"responses, a namespace":  {responses, ``, item("function_call", "a", "bmcp_x", `,"namespace":"n"`), "completed", "", ""},
		"responses, hosted":       {responses, ``, item("function_call", "a", "bmcp_x", "") + `,{"type":"web_search_call","id":"w","status":"completed"}`, "completed", "a", "runs"},
		"responses, approval":     {responses, ``, item("function_call", "a", "bmcp_x", "") + `,{"type":"mcp_approval_request","id":"w","name":"n","arguments":"{}"}`, "completed", "a", "mixed"},
		"responses, answered": {
			responses, ``, item("function_call", "a", "bmcp_x", "") + "," + item("shell_call", "b", "", "") + `,{"type":"shell_call_output","call_id":"b"}`,
			"completed", "a", "runs",
		},
		"responses, cut": {responses, ``, item("function_call", "a", "bmcp_x", ""), "incomplete", "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			request := `{"model":"m","tools":[` + test.tools + `]}`
			facts, err := rederive.Derive(exchange(test.format, request, "application/json", fmt.Sprintf(answers[test.format], test.calls, test.stop)))
			if err != nil {
				t.Fatal(err)
			}
			var injected []string
			for _, usage := range facts.ToolUsages {
				if usage.Injected {
					injected = append(injected, usage.CallID)
				}
			}
			then := map[[2]bool]string{{false, false}: "", {true, false}: "runs", {true, true}: "mixed"}[[2]bool{facts.Runs, facts.Mixed}]
			if got := strings.Join(injected, " "); got != test.injected || then != test.then {
				t.Errorf("injected are %q, and then %q; want %q and %q", got, then, test.injected, test.then)
			}
		})
	}
}
