package bedrock

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

func TestModelNames(t *testing.T) {
	for name, want := range map[string]model{
		"us.anthropic.claude-sonnet-4-5-20250929-v1:0": {"sonnet", 4, 5},
		"anthropic.claude-opus-4-20250514-v1:0":        {"opus", 4, 0},
		"anthropic.claude-3-7-sonnet-20250219-v1:0":    {"sonnet", 3, 7},
		"global.anthropic.claude-opus-4-6-v1":          {"opus", 4, 6},
		"claude-3-haiku-20240307":                      {"haiku", 3, 0},
		"claude-opus-5":                                {"opus", 5, 0},
		"claude-sonnet-4-5[1m]":                        {"sonnet", 4, 0}, // Nobody has such a name.
		"arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0": {"haiku", 4, 5},
		"arn:aws:bedrock:us-east-1:1:application-inference-profile/abc":                        {},
		"anthropic.claude-v2:1": {}, "claude-": {}, "": {}, "anthropic.claude-instant-v1": {},
	} {
		if got := modelOf(name); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// TestFlagsAndMembersGoTogether checks that a model which is refused a member is refused the flag that goes with it.
func TestFlagsAndMembersGoTogether(t *testing.T) {
	for _, name := range []string{
		"claude-3-5-sonnet", "claude-3-7-sonnet", "claude-opus-4", "claude-sonnet-4", "claude-opus-4-1", "claude-sonnet-4-5", "claude-opus-4-5",
		"claude-haiku-4-5", "claude-opus-4-6", "claude-sonnet-5", "unknown",
	} {
		for _, pair := range []struct {
			of           []capability
			member, flag string
		}{
			{topMembers(), "context_management", "context-management-2025-06-27"},
			{outputMembers(), "effort", "effort-2025-11-24"},
			{toolMembers(), "defer_loading", "tool-search-tool-2025-10-19"},
		} {
			if m := modelOf(name); accepts(pair.of, pair.member, m) != accepts(betas(), pair.flag, m) {
				t.Errorf("%s: %s goes without %s", name, pair.member, pair.flag)
			}
		}
	}
}

// FuzzRewrite checks that a rewritten request is one JSON object again, which differs from the request only in the members
// that the rewriting is about.
func FuzzRewrite(f *testing.F) {
	f.Add([]byte(`{"model":"claude-3-7-sonnet","stream":true,"tools":[{"strict":true,"cache_control":{"ttl":"1h"}}],"messages":[{"content":[{"cache_control":{"ttl":"1h","type":"x"}}]}],"output_config":{"effort":1},"betas":["a"]}`))
	f.Add([]byte(` {"messages" : [ ] ,"model": "claude-opus-4-6", "tools":[{ "eager_input_streaming":true }], "anthropic_beta":[] } `))
	f.Fuzz(func(t *testing.T, body []byte) {
		var before map[string]any
		if json.Unmarshal(body, &before) != nil || before["model"] == nil {
			return
		}
		r, err := (&transport{}).rewrite(http.Header{}, body)
		if err != nil {
			return
		}
		out, err := jsonedit.Splice(body, r.edits...)
		if err != nil {
			t.Fatal(err)
		}
		var after map[string]any
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%s became %s: %v", body, out, err)
		}
		object, _ := jsonedit.Parse(body)
		for name := range before {
			if _, ok := object.Get(name); !ok {
				return // encoding/json reads invalid UTF-8 in a name in another way.
			}
		}
		for _, gone := range []string{"model", "stream", "betas"} {
			if _, ok := after[gone]; ok {
				t.Fatalf("%s: %s is still there", out, gone)
			}
			delete(before, gone)
		}
		if _, ok := after["anthropic_version"]; !ok {
			t.Fatalf("%s has no version", out)
		}
		for _, of := range []map[string]any{before, after} {
			strip(of)
			delete(of, "anthropic_version")
			delete(of, "anthropic_beta")
			delete(of, "context_management")
			delete(of, "output_config")
		}
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%s became %s", body, out)
		}
	})
}

// strip removes from a value, at any depth, the members that may be rewritten.
func strip(value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range []string{"strict", "defer_loading", eager} {
			delete(v, name)
		}
		if mark, ok := v["cache_control"].(map[string]any); ok {
			delete(mark, "ttl")
		}
		for _, inner := range v {
			strip(inner)
		}
	case []any:
		for _, inner := range v {
			strip(inner)
		}
	}
}
