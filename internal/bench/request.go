package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// The sizes of request bodies: a short question, and a turn of a coding agent with its system prompt, its tools and a
// history of tool calls.
const (
	small = 1 << 10
	large = 200 << 10
)

// text makes pseudo-random texts, the same in each run.
type text struct{ random *rand.Rand }

func newText() text { return text{rand.New(rand.NewPCG(1, 2))} }

// prose returns n bytes of words.
func (t text) prose(n int) string {
	words := strings.Fields(`the cache keeps an entry until its last reader lets go and a writer that comes meanwhile waits for
		none of them because what it changes is a copy which nobody else has seen before it stands in the table`)
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[t.random.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.String()[:n]
}

// code returns about n bytes that look like a file that an agent reads: with line numbers, indents, quotes and line
// ends, which JSON must escape.
func (t text) code(n int) string {
	var b strings.Builder
	for line := 1; b.Len() < n; line += 3 {
		fmt.Fprintf(&b, "%5d\tif entry, ok := s.entries[%q]; !ok {\n%5d\t\treturn fmt.Errorf(\"load %s: %%w\", errNone)\n%5d\t}\n",
			line, t.prose(10), line+1, t.prose(8), line+2)
	}
	return b.String()
}

type object = map[string]any

// schema returns the schema of a tool's arguments.
func (t text) schema() object {
	properties := object{}
	for _, name := range []string{"path", "pattern", "offset", "limit", "reason"} {
		properties[name] = object{"type": "string", "description": t.prose(90)}
	}
	return object{"type": "object", "properties": properties, "required": []string{"path"}, "additionalProperties": false}
}

func toolNames() []string {
	return strings.Fields("Bash Read Edit Write Glob Grep WebFetch WebSearch TodoWrite Task NotebookEdit BashOutput KillShell Plan Command Skill")
}

const (
	systemPrompt = 14_000 // Bytes.
	toolPrompt   = 1000   // Bytes: OpenAI accepts no more.
	fileRead     = 4000   // Bytes, before they are escaped.
)

// messagesRequest returns a body of about size bytes, with its members in the order in which Claude Code writes them.
func messagesRequest(size int, stream bool) []byte {
	words := newText()
	head := member("model", messagesModel)
	tail := member("metadata", object{"user_id": "user_bench_session_00000000-0000-4000-8000-000000000000"}) + "," +
		member("max_tokens", 32000) + "," + member("stream", stream)
	if size <= small {
		return fmt.Appendf(nil, "{%s,%s,%s}", head, member("messages", []any{ordered("role", "user", "content", words.prose(size-230))}), tail)
	}
	kept := object{"type": "ephemeral"}
	var tools []any
	for _, name := range toolNames() {
		tools = append(tools, ordered("name", name, "description", words.prose(2*toolPrompt), "input_schema", words.schema()))
	}
	tail = member("system", []any{ordered("type", "text", "text", words.prose(systemPrompt), "cache_control", kept)}) + "," + member("tools", tools) + "," + tail
	history := []any{message("user", ordered("type", "text", "text", words.prose(2000)))}
	written := len(head) + len(tail) + 2000
	for i := 0; written < size-fileRead; i++ {
		id, file := fmt.Sprintf("toolu_01Bench%012d", i), words.code(fileRead)
		history = append(history,
			message("assistant", ordered("type", "tool_use", "id", id, "name", "Read", "input", object{"path": "/home/ada/store/entry.go"})),
			message("user", ordered("tool_use_id", id, "type", "tool_result", "content", file)))
		written += len(quote(file)) + 250
	}
	history = append(history, message("assistant", ordered("type", "text", "text", words.prose(100))),
		message("user", ordered("type", "text", "text", words.prose(300), "cache_control", kept)))
	return fmt.Appendf(nil, "{%s,%s,%s}", head, member("messages", history), tail)
}

// chatRequest does the same for Chat Completions, in the order of OpenAI's library.
func chatRequest(size int, stream bool) []byte {
	words := newText()
	tail := member("model", chatModel) + "," + member("max_tokens", 16000) + "," + member("stream", stream)
	if stream {
		tail += "," + member("stream_options", object{"include_usage": true})
	}
	if size <= small {
		return fmt.Appendf(nil, "{%s,%s}", member("messages", []any{
			ordered("role", "system", "content", "You are a helpful assistant."), ordered("role", "user", "content", words.prose(size-190)),
		}), tail)
	}
	var tools []any
	for _, name := range toolNames() {
		tools = append(tools, ordered("type", "function", "function", ordered("name", name, "description", words.prose(toolPrompt), "parameters", words.schema())))
	}
	tail += "," + member("tools", tools)
	history := []any{ordered("role", "system", "content", words.prose(systemPrompt)), ordered("role", "user", "content", words.prose(2000))}
	written := len(tail) + systemPrompt + 2000
	for i := 0; written < size-fileRead; i++ {
		id, file := fmt.Sprintf("call_Bench%012d", i), words.code(fileRead)
		call := ordered("id", id, "type", "function", "function", ordered("name", "Read", "arguments", `{"path":"/home/ada/store/entry.go"}`))
		history = append(history, ordered("role", "assistant", "content", nil, "tool_calls", []any{call}),
			ordered("role", "tool", "tool_call_id", id, "content", file))
		written += len(quote(file)) + 280
	}
	history = append(history, ordered("role", "user", "content", words.prose(300)))
	return fmt.Appendf(nil, "{%s,%s}", member("messages", history), tail)
}

// message returns a message of the Messages API with one block.
func message(role string, block json.RawMessage) json.RawMessage {
	return ordered("role", role, "content", []any{block})
}

// ordered returns an object whose members, given as names and values in turn, have the order in which clients write them: a
// reader that looks for a small one need not pass a large one first.
func ordered(members ...any) json.RawMessage {
	var written []string
	for i := 0; i < len(members); i += 2 {
		written = append(written, member(members[i].(string), members[i+1]))
	}
	return json.RawMessage("{" + strings.Join(written, ",") + "}")
}

// member returns the text of an object's member.
func member(name string, value any) string { return quote(name) + ":" + quote(value) }

// quote returns the JSON of a value as clients write it, without the HTML escapes that only Go's encoder makes.
func quote(value any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(err) // Cannot happen: all values are strings, numbers, lists and maps.
	}
	return strings.TrimSuffix(b.String(), "\n")
}
