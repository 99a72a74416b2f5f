package chat_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
)

func TestWriteTool(t *testing.T) {
	for name, test := range map[string]struct {
		tool wire.Tool
		want string // Empty: the format cannot have it.
	}{
		"whole": {
			wire.Tool{Name: "a", Description: "does \"a\"\n", Schema: []byte(`{"type":"object", "properties":{"p":{"$ref":"#/$defs/p"}},"$defs":{"p":{"anyOf":[{},true]}},"additionalProperties":false}`)},
			`{"type":"function","function":{"name":"a","description":"does \"a\"\n","parameters":{"type":"object", "properties":{"p":{"$ref":"#/$defs/p"}},"$defs":{"p":{"anyOf":[{},true]}},"additionalProperties":false}}}`,
		},
		"no description": {
			wire.Tool{Name: "a", Schema: []byte(` {"type":"object","properties":{}} `)},
			`{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{}}}}`,
		},
		"no properties": {
			wire.Tool{Name: "a", Schema: []byte(`{"type":"object"}`)},
			`{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{}}}}`,
		},
		"no schema":    {wire.Tool{Name: "a"}, `{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{}}}}`},
		"empty schema": {wire.Tool{Name: "a", Schema: []byte(`{}`)}, `{"type":"function","function":{"name":"a","parameters":{"type":"object","properties":{}}}}`},
		"any":          {wire.Tool{Name: "a", Schema: []byte(`true`)}, ``},
		"a string":     {wire.Tool{Name: "a", Schema: []byte(`{"type":"string"}`)}, ``},
		"no JSON":      {wire.Tool{Name: "a", Schema: []byte(`{"type":"object"`)}, ``},
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				got := string(chat.Format().Tooling.Write(test.tool))
				if got != test.want || got != "" && !json.Valid([]byte(got)) {
					t.Errorf("got %s, want %s", got, test.want)
				}
			}
		})
	}
}

// TestFree adds members to a request: tools are only offered where the model is free to choose, and a call breaks nothing.
func TestFree(t *testing.T) {
	own := `,"tools":[{"type":"function","function":{"name":"Read"}}]`
	for members, want := range map[string]bool{
		``: true, own: true, `,"tools":[]`: true, `,"tools":null`: true, `,"tools":{}`: false, `,"tools":"auto"`: false,
		`,"tool_choice":null`: true, `,"tool_choice":"auto"`: true, `,"tool_choice":"none"`: false, `,"tool_choice":"required"`: false,
		`,"tool_choice":{"type":"function","function":{"name":"Read"}}` + own: false, `,"tool_choice":{"type":"allowed_tools"}` + own: false,
		`,"functions":[]`: false, `,"functions":null`: true, `,"function_call":"auto"`: false, `,"thread":"t"`: false, `,"thread":null`: true,
		`,"n":1`: true, `,"n":null`: true, `,"n":2`: false, `,"n":"1"`: false,
		`,"parallel_tool_calls":false`: true, `,"parallel_tool_calls":false` + own: true,
		`,"response_format":{"type":"json_schema"}`: false, `,"response_format":{"type":"json_object"}`: false,
		`,"response_format":{"type":"text"}`: true, `,"response_format":null`: true, `,"response_format":{"type":"json_schema"}` + own: true,
		`,"response_format":{"type":"json_object"},"tools":[]`: false, `,"guided_json":{}`: false, `,"guided_json":{}` + own: true,
		`,"max_tokens":1`: false, `,"max_completion_tokens":1`: false, `,"max_tokens":2`: true, `,"max_tokens":null`: true, `,"max_tokens":1` + own: true,
		`,"max_tokens":0`: false, `,"max_tokens":100,"max_completion_tokens":1`: false,
	} {
		body := parse(t, `{"model":"m","messages":[{"role":"user","content":"hi"}]`+members+`}`)
		if got := chat.Format().Tooling.Free(body); got != want {
			t.Errorf("%s: free %t", members, got)
		}
	}
	for _, body := range []string{`{"model":"m","prompt":"hi"}`, `{"model":"m","messages":{}}`, `{"model":"m","messages":null,"prompt":"hi"}`} {
		if chat.Format().Tooling.Free(parse(t, body)) {
			t.Errorf("%s is free", body)
		}
	}
}

func TestToolName(t *testing.T) {
	for tool, want := range map[string]string{
		`{"type":"function","function":{"name":"Read"}}`: "Read",
		`{"type":"custom","custom":{"name":"patch"}}`:    "patch",
		`{"type":"web_search"}`:                          "",
		`{"function":7}`:                                 "",
		`7`:                                              "",
	} {
		if got := chat.Format().Tooling.Name(gjson.Parse(tool)); got != want {
			t.Errorf("%s: got %q", tool, got)
		}
	}
}

func TestOpening(t *testing.T) {
	for messages, want := range map[string]struct {
		text   string
		begins bool
	}{
		``:                               {"", true},
		`{"role":"user","content":"hi"}`: {"hi", true},
		`{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"type":"text","text":"b"}]},{"role":"user","content":"c"}`: {"ab", true},
		`{"role":"user","content":"hi"},{"role":"assistant","content":"x"},{"role":"user","content":"c"}`:                                                                      {"hi", false},
		`{"role":"assistant","content":"x"}`: {"", false},
	} {
		text, begins := chat.Format().Tooling.Opening(parse(t, `{"messages":[`+messages+`]}`))
		if text != want.text || begins != want.begins {
			t.Errorf("%s: got %q, %t", messages, text, begins)
		}
	}
}

func TestKeys(t *testing.T) {
	call := func(id string) string { return `{"id":"` + id + `","function":{"name":"Read"}}` }
	result := func(id string) string { return `,{"role":"tool","tool_call_id":"` + id + `"}` }
	a, b, c := "call_0123456789abcdefa", "call_0123456789abcdefb", "call_0123456789abcdefc"
	body := parse(t, `{"messages":[{"role":"user"},{"role":"assistant","tool_calls":[`+call(a)+`]}`+result(a)+`,{"role":"assistant"},`+
		`{"role":"assistant","tool_calls":[`+call(b)+`,7,{},`+call(c)+`,`+call("open0123456789abcdef")+`]}`+result(b)+
		`,{"role":"tool"},{"role":"tool","tool_call_id":7}`+result(c)+result(a)+`,{"role":"user","content":"and?"}]}`)
	tooling := chat.Format().Tooling
	if got := tooling.Keys(body, 1<<20); !slices.Equal(got, []string{"chat:" + b, "chat:" + c}) {
		t.Errorf("the last ones are %q", got)
	}
	if got := tooling.Keys(body, 0); !slices.Equal(got, []string{"chat:" + b, "chat:" + c, "chat:" + a}) {
		t.Errorf("all are %q", got)
	}
	for _, messages := range []string{
		``, `{"role":"assistant"}`, `{"role":"assistant","tool_calls":[` + call(a) + `]}` + result(a) + `,{"role":"assistant"},{"role":"user"}`,
		`{"role":"assistant","tool_calls":[` + call(strings.Repeat("a", 513)) + `]}` + result(strings.Repeat("a", 513)),
	} {
		body := parse(t, `{"messages":[`+messages+`]}`)
		if got := tooling.Keys(body, 1<<20); len(got) > 0 {
			t.Errorf("%s: the last ones are %q", messages, got)
		}
	}
}
