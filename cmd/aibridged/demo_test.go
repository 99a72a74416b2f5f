package main

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
	"github.com/coder/aibridged/internal/fakemcp"
)

// TestDemoCompares has records that are not what was scripted: demo must not succeed.
func TestDemoCompares(t *testing.T) {
	const server = "http://docs"
	url, failure := server, "away"
	call := aibridgedserver.ToolUsage{ToolCallID: "t", Tool: "bmcp_docs_search", Input: `{"q":1}`, Injected: true, ServerURL: &url}
	recorded := func() *aibridgedserver.Interception {
		return &aibridgedserver.Interception{
			Model: "m", Initiator: demoUser, Prompts: []aibridgedserver.Prompt{{Prompt: "p"}},
			TokenUsages: []aibridgedserver.TokenUsage{{MsgID: "a", InputTokens: 1}, {MsgID: "b", InputTokens: 2}},
			ToolUsages:  []aibridgedserver.ToolUsage{call},
		}
	}
	served := []fakellm.Served{
		{AnswerID: "a", Model: "m", Prompt: "p", Usage: fakellm.Usage{Input: 1}, ToolCalls: []fakellm.ToolCall{{ID: "t", Name: call.Tool, Input: call.Input}}},
		{AnswerID: "b", Model: "m", Prompt: "p", Usage: fakellm.Usage{Input: 2}},
	}
	for want, change := range map[string]func(*aibridgedserver.Interception){
		"":                          func(*aibridgedserver.Interception) {},
		"answer b was not recorded": func(i *aibridgedserver.Interception) { i.TokenUsages = i.TokenUsages[:1] },
		"tokens 3 in":               func(i *aibridgedserver.Interception) { i.TokenUsages[1].InputTokens = 3 },
		"call bmcp_docs_search {};": func(i *aibridgedserver.Interception) { i.ToolUsages[0].Input, i.ToolUsages[0].ServerURL = "{}", nil },
		"which failed: away":        func(i *aibridgedserver.Interception) { i.ToolUsages[0].InvocationError = &failure },
	} {
		i := recorded()
		change(i)
		err := compare([]*aibridgedserver.Interception{i}, served, server)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	if err := compareCalls(served, []fakemcp.Call{{Tool: "search", Arguments: call.Input}}); err != nil {
		t.Error(err)
	}
	if err := compareCalls(served, nil); err == nil {
		t.Error("no error, though the server got no call")
	}
}
