package responses_test

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/responses"
)

func TestOnlyResponsesHaveTools(t *testing.T) {
	if responses.Stored().Tooling != nil || tooling().First {
		t.Error("stored answers have no tools, and those of the gateway stand behind the client's")
	}
	if responses.Compact().Tooling.Free(parseBody(t, `{"model":"m","input":"x","tools":[{"type":"function","name":"a"}]}`)) {
		t.Error("a request to compact a conversation is offered tools")
	}
}

func TestWrite(t *testing.T) {
	for name, test := range map[string]struct{ schema, want string }{
		"as it is":          {`{"type":"object", "properties":{"a":{"$ref":"#/$defs/b"}},"$defs":{"b":{"anyOf":[1e400]}}}`, `{"type":"object", "properties":{"a":{"$ref":"#/$defs/b"}},"$defs":{"b":{"anyOf":[1e400]}}}`},
		"no properties":     {`{"type":"object"}`, `{"type":"object","properties":{}}`},
		"empty":             {`{}`, `{"type":"object","properties":{}}`},
		"no schema":         {``, `{"type":"object","properties":{}}`},
		"no object":         {`[]`, ``},
		"no JSON":           {`{"type":`, ``},
		"nested in another": {`{"a":{"properties":{}}}`, `{"a":{"properties":{}},"type":"object","properties":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			tool := wire.Tool{Name: "bmcp_s_t", Description: "a <b> \"c\"\n", Schema: []byte(test.schema)}
			want := `{"type":"function","name":"bmcp_s_t","description":"a <b> \"c\"\n","parameters":` + test.want + `,"strict":false}`
			if test.want == "" {
				want = ""
			}
			for range 2 {
				if got := string(tooling().Write(tool)); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			if string(tool.Schema) != test.schema {
				t.Errorf("the schema has become %s", tool.Schema)
			}
		})
	}
}

func TestFree(t *testing.T) {
	const own = `"tools":[{"type":"custom","name":"apply_patch"}]`
	for body, want := range map[string]bool{
		``:                                true,
		`"tool_choice":null`:              true,
		`"tool_choice":"auto"`:            true,
		`"tool_choice":"none"`:            false,
		`"tool_choice":"required",` + own: false,
		`"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[]},` + own: false,
		`"tool_choice":{"type":"function","name":"f"},` + own:                    false,
		`"background":true`:                                           false,
		`"background":true,` + own:                                    false,
		`"background":false`:                                          true,
		`"prompt":{"id":"p"}`:                                         false,
		`"prompt":{"id":"p"},"tools":null`:                            false,
		`"prompt":{"id":"p"},` + own:                                  true,
		`"prompt":null`:                                               true,
		`"text":{"format":{"type":"json_schema","schema":{}}}`:        false,
		`"text":{"format":{"type":"json_object"}}`:                    false,
		`"text":{"format":{"type":"text"},"verbosity":"low"}`:         true,
		`"text":{"format":{"type":"json_schema","schema":{}}},` + own: true,
		`"max_output_tokens":1`:                                       false,
		`"max_output_tokens":0`:                                       false,
		`"max_output_tokens":16`:                                      true,
		`"max_output_tokens":null`:                                    true,
		`"max_output_tokens":1,` + own:                                true,
		`"tools":{}`:                                                  false,
		`"tools":"all"`:                                               false,
		`"tools":null`:                                                true,
		`"tools":[]`:                                                  true,
		`"tools":[],"max_output_tokens":1`:                            false,
		`"parallel_tool_calls":false`:                                 true,
		`"tools":[{"type":"namespace","name":"n","tools":[]},{"type":"tool_search"},{"type":"web_search"}]`: true,
	} {
		object := parseBody(t, `{`+strings.TrimSuffix(`"model":"m",`+body, ",")+`}`)
		if got := tooling().Free(object); got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
}

func TestName(t *testing.T) {
	for tool, want := range map[string]string{
		theirTool:                                `shell`,
		`{"type":"custom","name":"apply_patch"}`: `apply_patch`,
		`{"type":"web_search"}`:                  ``,
		`{"type":"function","name":7}`:           ``,
		`7`:                                      ``,
	} {
		if got := tooling().Name(gjson.Parse(tool)); got != want {
			t.Errorf("%s: got %q, want %q", tool, got, want)
		}
	}
}

func TestOpening(t *testing.T) {
	const user = `{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image"},{"type":"input_text","text":"b"}]}`
	for name, test := range map[string]struct {
		body, text string
		begins     bool
	}{
		"string":              {`"input":"h\u00fc"`, "hü", true},
		"no input":            {`"x":1`, "", true},
		"messages":            {`"input":[{"role":"developer","content":"d"},` + user + `,{"role":"user","content":"c"}]`, "ab", true},
		"typed":               {`"input":[{"type":"message","role":"user","content":"c"}]`, "c", true},
		"empty, then another": {`"input":[{"role":"user","content":""},{"role":"user","content":"c"}]`, "", true},
		"assistant before":    {`"input":[{"role":"assistant","content":"x"},` + user + `]`, "ab", false},
		"assistant":           {`"input":[` + user + `,{"role":"assistant","content":"x"}]`, "ab", false},
		"call":                {`"input":[` + user + `,` + theirCall(1) + `]`, "ab", false},
		"custom call":         {`"input":[` + user + `,{"type":"custom_tool_call","call_id":"c"}]`, "ab", false},
		"reasoning":           {`"input":[` + user + `,` + reasoning(1) + `]`, "ab", false},
		"reference":           {`"input":[` + user + `,{"type":"item_reference","id":"x"}]`, "ab", false},
		"an earlier answer":   {`"previous_response_id":"r","input":"c"`, "c", false},
		"no earlier answer":   {`"previous_response_id":null,"input":"c"`, "c", true},
		"conversation":        {`"conversation":"conv_1","input":[` + user + `]`, "ab", false},
	} {
		t.Run(name, func(t *testing.T) {
			text, begins := tooling().Opening(parseBody(t, `{"model":"m",`+test.body+`}`))
			if text != test.text || begins != test.begins {
				t.Errorf("got %q, %v, want %q, %v", text, begins, test.text, test.begins)
			}
		})
	}
}
