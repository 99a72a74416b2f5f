package messages_test

import (
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire/messages"
)

// For how long a request asks for cache writes to be kept is found wherever a block may have a mark.
func TestCacheTTL(t *testing.T) {
	t.Parallel()
	const (
		long  = `"cache_control":{"type":"ephemeral","ttl":"1h"}`
		short = `"cache_control":{"type":"ephemeral","ttl":"5m"}`
		plain = `"cache_control": { "type" : "ephemeral" }`
	)
	for body, want := range map[string]string{
		`{}`:                                    "",
		`{` + long + `}`:                        "1h",
		`{` + short + `}`:                       "",
		`{"tools":[{"name":"x",` + long + `}]}`: "1h",
		`{"system":[{"type":"text","text":"s",` + long + `}],"messages":[]}`:                                                    "1h",
		`{"messages":[{"role":"user","content":[{"type":"text","text":"s",` + long + `}]}]}`:                                    "1h",
		`{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"text",` + long + `}]}]}]}`:            "1h",
		`{"system":[{"type":"text","text":"s",` + long + `}],"messages":[{"role":"user","content":[{` + plain + `}]}]}`:         "mixed",
		`{"system":[{` + plain + `}],` + long + `}`:                                                                             "mixed",
		`{"system":[{"cache_control":{"ttl":"1h"}}],"messages":[{"role":"user","content":[{` + short + `}]}]}`:                  "mixed",
		`{"system":[{"cache_control":null}],` + long + `}`:                                                                      "1h",
		`{"messages":[{"role":"user","content":"{\"cache_control\":{\"ttl\":\"1h\"}}"}]}`:                                       "",
		`{"messages":[{"role":"assistant","content":[{"type":"tool_use","input":{"cache_control":{"ttl":"1h"},"ttl":"1h"}}]}]}`: "",
		`{"cache_control":null,"system":"ttl","messages":[{"ttl":"1h"}]}`:                                                       "",
	} {
		object, err := jsonedit.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := messages.CacheTTL(object); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}
