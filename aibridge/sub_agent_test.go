package aibridge

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/credential"
)

func TestSubAgent(t *testing.T) {
	for name, test := range map[string]struct {
		header map[string]string
		want   map[string]string
	}{
		"none":          {nil, nil},
		"blank":         {map[string]string{"X-Claude-Code-Agent-Id": " "}, nil},
		"agent alone":   {map[string]string{"X-Claude-Code-Agent-Id": " a "}, map[string]string{"agent_id": "a"}},
		"with a parent": {map[string]string{"X-Claude-Code-Agent-Id": "a", "X-Claude-Code-Parent-Agent-Id": "b"}, map[string]string{"agent_id": "a", "parent_agent_id": "b"}},
		"parent alone":  {map[string]string{"X-Claude-Code-Parent-Agent-Id": "b"}, map[string]string{"parent_agent_id": "b"}},
		"main thread":   {map[string]string{"Thread-Id": "a", "X-Session-Id": "s", "X-Agent-Task-Id": "t"}, nil},
		"thread of a review": {
			map[string]string{"Thread-Id": "a", "X-Openai-Subagent": "review"}, map[string]string{"agent_id": "a", "agent_kind": "review"},
		},
		"task":    {map[string]string{"X-Agent-Task-Id": "t", "X-Parent-Agent-Id": "p"}, map[string]string{"agent_id": "t", "parent_agent_id": "p"}},
		"token":   {map[string]string{"X-Claude-Code-Agent-Id": "token-of-the-gateway"}, map[string]string{"agent_id": credential.Hint("token-of-the-gateway")}},
		"session": {map[string]string{"X-Session-Id": "s", "X-Parent-Session-Id": "p"}, map[string]string{"agent_id": "s", "parent_agent_id": "p"}},
	} {
		header := http.Header{}
		for name, value := range test.header {
			header.Set(name, value)
		}
		if got := subAgent(header, credential.Tokens{Presented: "token-of-the-gateway"}); !maps.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestWithAgent has a client that says what the host says of the actor: the host counts. The host's metadata stays as it
// is, and long ids are cut.
func TestWithAgent(t *testing.T) {
	actor := Metadata{"agent_id": "host's"}
	var names naming
	got := withAgent(actor, map[string]string{"agent_id": "client's", "parent_agent_id": strings.Repeat("p", longestName+1)}, &names)
	want := Metadata{"agent_id": "host's", "parent_agent_id": strings.Repeat("p", longestName)}
	if !maps.Equal(got, want) || !names.cut || len(actor) != 1 {
		t.Errorf("got %v, %t, and %v is left", got, names.cut, actor)
	}
}
