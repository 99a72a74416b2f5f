package jsonedit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/jsonedit"
)

// chatBody returns a request as coding agents send them, of about size bytes: a long system prompt, tools with schemas,
// and a conversation of prose, code and tool results.
func chatBody(size int) []byte {
	code := `func (s *Server) handle(w http.ResponseWriter, r *http.Request) {\n\tif r.Method != \"POST\" {\n\t\t` +
		`http.Error(w, \"method not allowed\", http.StatusMethodNotAllowed)\n\t\treturn\n\t}\n}\n\n`
	prose := "Please look at the handler and tell me why requests that are cut off by the client are counted twice, " +
		"and what a test for it would look like; the failing run is below. "
	var b bytes.Buffer
	b.WriteString(`{"model":"claude-sonnet-4-5","max_tokens":32000,"stream":true,"temperature":1,` +
		`"metadata":{"user_id":"user_0123456789abcdef_session_00000000-0000-0000-0000-000000000000"},` +
		`"system":[{"type":"text","text":"` + strings.Repeat(prose, size/4/len(prose)) + `"}],"tools":[`)
	for i := range 15 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"tool_%d","description":"%s","input_schema":{"type":"object","properties":{`+
			`"path":{"type":"string","description":"The file, absolute"},"limit":{"type":"integer","minimum":1},`+
			`"options":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"}}}}},`+
			`"required":["path"],"additionalProperties":false}}`, i, strings.Repeat(prose, 4))
	}
	b.WriteString(`],"messages":[`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_%024d","content":"%s"}]},`,
			i, strings.Repeat(code, 6))
		fmt.Fprintf(&b, `{"role":"assistant","content":[{"type":"text","text":"%s"},{"type":"tool_use",`+
			`"id":"toolu_%024d","name":"read","input":{"path":"/src/server.go","limit":%d}}]}`,
			strings.Repeat(prose, 3), i+1, i)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	var indented bytes.Buffer
	if err := json.Indent(&indented, chatBody(200<<10), "", "  "); err != nil {
		b.Fatal(err)
	}
	for _, test := range []struct {
		name string
		body []byte
	}{
		{"200 KB of chat", chatBody(200 << 10)},
		{"the same indented", indented.Bytes()},
		{"200 KB in one string", []byte(`{"model":"m","input":"` + strings.Repeat("x", 200<<10) + `"}`)},
		{"200 KB of short values", []byte(`{"a":[` + strings.Repeat(`{"b":[1,-2.5e3,true,null,"c"]},`, 6500) + `0]}`)},
		{"200 KB of escapes", []byte(`{"a":"` + strings.Repeat(`\"\n`, 50<<10) + `"}`)},
		{"small", []byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"Hello"}]}`)},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.SetBytes(int64(len(test.body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jsonedit.Parse(test.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheckDepth(b *testing.B) {
	body := chatBody(200 << 10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := jsonedit.CheckDepth(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSplice(b *testing.B) {
	body := chatBody(200 << 10)
	object, err := jsonedit.Parse(body)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		edits := []jsonedit.Edit{object.Set("stream", []byte("false")), object.Set("new", []byte("1"))}
		if _, err := jsonedit.Splice(body, edits...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkString(b *testing.B) {
	for name, value := range map[string]string{
		"plain":   `"` + strings.Repeat("Please look at the handler. ", 400) + `"`,
		"escaped": `"` + strings.Repeat(`if r.Method != \"POST\" {\n\t`, 400) + `"`,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := jsonedit.String([]byte(value)); !ok {
					b.Fatal("not a string")
				}
			}
		})
	}
}
