package chat_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
	"golang.org/x/tools/txtar"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
)

// addStreams adds the streams of all files as seeds, each twice.
func addStreams(f *testing.F) {
	for _, pattern := range []string{"testdata/*.txtar", "testdata/rounds/*.txtar"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				f.Fatal(err)
			}
			for _, part := range archive.Files {
				if strings.HasSuffix(part.Name, ".sse") {
					f.Add(part.Data, part.Data)
				}
			}
		}
	}
}

func join(t testing.TB, isOurs, mayBeOurs func(string) bool) wire.Joint {
	t.Helper()
	format := chat.Format()
	body := parse(t, plainRequest)
	request, err := format.Inspect(body)
	if err != nil {
		t.Fatal(err)
	}
	return format.Tooling.Join(wire.Joined{Body: body, Request: &request, IsOurs: isOurs, MayBeOurs: mayBeOurs})
}

// FuzzUntouched passes an answer in which no tool of the gateway is called: the client gets its bytes as they came, each at
// once.
func FuzzUntouched(f *testing.F) {
	addStreams(f)
	no := func(string) bool { return false }
	f.Fuzz(func(t *testing.T, stream, body []byte) {
		joint := join(t, no, no)
		joint.Begin(wire.Stream)
		var client []byte
		for event := range split(stream) {
			client = joint.Pass(client, event)
			if !bytes.HasSuffix(client, event.Raw) {
				t.Fatalf("%q came, the client has %q", event.Raw, client)
			}
		}
		if turn := joint.Turn(); len(turn.Calls) > 0 || slices.ContainsFunc(joint.Kept(), func(keep wire.ToKeep) bool { return keep.Turn != nil }) {
			t.Fatalf("it wants %+v", turn)
		}
		if client = joint.Finish(client); !bytes.Equal(client, stream) {
			t.Fatalf("the client gets\n%q\nof\n%q", client, stream)
		}
		joint = join(t, no, no)
		joint.Begin(wire.Body)
		joint.Pass(nil, sse.Event{Data: body})
		joint.Turn()
		if client = joint.Finish(nil); len(client) > 0 {
			t.Fatalf("the client gets\n%q\nof\n%q, and not what came", client, body)
		}
	})
}

// FuzzHidden passes two rounds, whatever they bring: the client never gets a call of a tool of the gateway, and what the
// upstream gets is well-formed.
func FuzzHidden(f *testing.F) {
	addStreams(f)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, form := range []wire.Form{wire.Stream, wire.Body} {
			joint := join(t, isHidden, func(beginning string) bool {
				return isHidden(beginning) || strings.HasPrefix("bmcp_", beginning)
			})
			var client []byte
			for _, answer := range [][]byte{first, second} {
				joint.Begin(form)
				events := split(answer)
				if form == wire.Body {
					events = func(yield func(sse.Event) bool) { yield(sse.Event{Raw: answer, Data: answer}) }
				}
				for event := range events {
					client = joint.Pass(client, event)
				}
				turn := joint.Turn()
				results := make([]wire.Result, len(turn.Calls))
				if len(turn.Calls) == 0 || turn.Mixed {
					joint.Close(results)
					break
				}
				edits, err := joint.Continue(results)
				if err != nil {
					t.Fatal(err)
				}
				next, err := jsonedit.Splice([]byte(plainRequest), edits...)
				if err != nil {
					t.Fatal(err)
				}
				answered(t, next)
			}
			client = joint.Finish(client)
			events := split(client)
			if form == wire.Body {
				events = func(yield func(sse.Event) bool) { yield(sse.Event{Data: client}) }
			}
			for event := range events {
				if wire.IsSound(event.Data) && callsHidden(gjson.ParseBytes(event.Data)) {
					t.Fatalf("the client gets %s", event.Data)
				}
			}
		}
	})
}

func isHidden(name string) bool { return strings.HasPrefix(name, "bmcp_") }

// callsHidden reports whether a chunk has a call of a tool of the gateway.
func callsHidden(chunk gjson.Result) (found bool) {
	each := func(object gjson.Result, names string, do func(gjson.Result)) {
		if object.IsObject() {
			object.ForEach(func(name, value gjson.Result) bool {
				if strings.Contains(names, name.Str) && name.Str != "" {
					do(value)
				}
				return true
			})
		}
	}
	elements := func(array gjson.Result, do func(gjson.Result)) {
		if array.IsArray() {
			array.ForEach(func(_, value gjson.Result) bool {
				do(value)
				return true
			})
		}
	}
	each(chunk, "choices", func(choices gjson.Result) {
		elements(choices, func(choice gjson.Result) {
			each(choice, "delta message", func(message gjson.Result) {
				each(message, "function_call", func(call gjson.Result) {
					found = found || call.IsObject() && isHidden(wire.String(call.Get("name")))
				})
				each(message, "tool_calls", func(calls gjson.Result) {
					elements(calls, func(call gjson.Result) {
						found = found || isHidden(wire.String(call.Get("function.name")))
					})
				})
			})
		})
	})
	return found
}

// FuzzRestore restores whatever was kept into whatever a client sends: a well-formed request stays well-formed.
func FuzzRestore(f *testing.F) {
	files, err := filepath.Glob("testdata/rounds/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"messages":[{"role":"assistant","tool_calls":[{"id":"call_0123456789abcdef","function":{"name":"Read","arguments":"{}"}}]},`+
		`{"role":"tool","tool_call_id":"call_0123456789abcdef"}]}`,
		`{"rounds":[{"seen":1,"calls":[{"at":0,"call":{"id":"o1"}}],"results":[{"role":"tool","tool_call_id":"o1"}]}],`+
			`"checks":{"chat:call_0123456789abcdef":"`+wire.CallCheck("Read", "{}")+`"}}`)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range archive.Files {
			if part.Name == "later.json" {
				f.Add(string(part.Data), `{"rounds":[],"checks":{}}`)
			}
		}
	}
	f.Fuzz(func(t *testing.T, body, turn string) {
		object, err := jsonedit.Parse([]byte(body))
		if err != nil {
			return
		}
		format := chat.Format()
		kept := map[string][]byte{}
		for _, key := range format.Tooling.Keys(object, 0) {
			kept[key] = []byte(turn)
		}
		restored, err := jsonedit.Splice([]byte(body), format.Tooling.Restore(object, kept)...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jsonedit.Parse(restored); err != nil {
			t.Fatalf("%s: %v", restored, err)
		}
		if malformed([]byte(body)) == nil {
			answered(t, restored)
		}
	})
}
