package rederive_test

import (
	"net/http"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/rederive"
)

// ask is a client's request.
type ask struct {
	header   http.Header
	body     string // Without content coding.
	stream   bool
	hasUsage bool // It asks for the usage of a stream itself.
	refused  bool // The gateway must refuse it.
}

// asker makes requests in the way of AI clients.
type asker struct {
	dice
	format string
	sender sender
	header http.Header
	system string
	fields object // Members of the body, beyond those that every request has.
}

// sender is a client as seen from outside.
type sender struct {
	agent, system string
	marks         []string // Headers with their values.
	sessions      []string // Headers of its session.
	userID        bool     // Its session is in metadata.user_id,
	cacheKey      string   // or in prompt_cache_key, after this prefix.
	wrappers      []string
	line          string
	fixed         []string
	opening       string // The opening of requests that it makes for itself.
}

func senders() []sender {
	title := "Generate a title for this conversation:\n"
	return []sender{
		{
			agent: "claude-cli/2.1.330 (external, sdk-cli)", sessions: []string{"X-Claude-Code-Session-Id"}, userID: true,
			wrappers: []string{"system-reminder"}, fixed: []string{"Tool loaded.", "CRITICAL: Respond with TEXT ONLY. Do not"},
			opening: "CRITICAL: Respond with TEXT ONLY. Do not call any tools.",
		},
		{
			agent: "codex_exec/0.169.0 (Linux)", sessions: []string{"session-id", "session_id"}, cacheKey: "k",
			wrappers: []string{"environment_context", "user_instructions", "permissions instructions", "skills_instructions"},
		},
		{agent: "Go-http-client/1.1", marks: []string{"originator", "codex_vscode"}, sessions: []string{"session-id"}, wrappers: []string{"environment_context"}},
		{agent: "opencode/1.18.0", sessions: []string{"x-session-id", "x-session-affinity", "X-OpenCode-Session"}, opening: title},
		{
			agent: "opencode/1.18.0", marks: []string{"X-Title", "Kilo Code"}, sessions: []string{"x-session-affinity", "X-KILOCODE-TASKID"},
			wrappers: []string{"environment_details"},
		},
		{agent: "Kilo-Code/7.7", sessions: []string{"x-session-id"}, wrappers: []string{"environment_details"}},
		{agent: "claude-cli/2.1 ", system: "You are Qwen Code, an agent.", cacheKey: "qwen-code:k", wrappers: []string{"system-reminder"}},
		{agent: "QwenCode/0.24", cacheKey: "qwen-code:", wrappers: []string{"system-reminder"}},
		{
			agent: "OpenAI/JS 6.1", system: "You are the GitHub Copilot CLI, a terminal", sessions: []string{"X-Client-Session-Id"},
			cacheKey: "k", line: "current_datetime",
		},
		{agent: "GitHubCopilotChat/0.31", sessions: []string{"x-interaction-id"}},
		{agent: "ai-sdk/anthropic", system: "You are Cline, a skilled", wrappers: []string{"environment_details"}},
		{agent: "GeminiCLI/0.61"}, {agent: "Roo-Code/3"}, {agent: "Zed/1"}, {agent: "Charm Crush/1"},
		{agent: "mux/1", sessions: []string{"X-Mux-Workspace-Id"}}, {agent: "coder-agents/1", sessions: []string{"X-Coder-Chat-Id"}},
		{agent: "Junie:1"}, {agent: "x", marks: []string{"X-Cursor-Client-Version", "1"}},
		{agent: "Anthropic/Python 1.0"}, {agent: "OpenAI/Go 3"}, {agent: "openai/ruby"}, {agent: "ai/5"}, {agent: "google-genai-sdk/1"}, {agent: ""},
		{agent: "curl/8 claude"},
	}
}

// newAsk makes a request. A plain one can be written in every format.
func newAsk(d dice, format string, stream bool) ask {
	a := &asker{dice: d, format: format, sender: pick(d, senders()...), header: http.Header{}}
	a.identify()
	messages := a.conversation()

	request := ask{header: a.header, stream: stream}
	fields := append(object{{"model", pick(d, "claude-x", "gpt-x", "m/Ü\"", "m\x00")}}, a.fields...)
	says := pick[any](d, false, false, absent{}, nil)
	if stream {
		says = true
	}
	fields = append(fields, member{"stream", says})
	switch format {
	case rederive.FormatMessages:
		if a.system != "" {
			system := any(a.system)
			if d.oneIn(2) {
				system = list{object{{"type", "text"}, {"text", a.system}}, object{{"type", "text"}, {"text", "more"}}}
			}
			fields = append(fields, member{"system", system})
		}
		fields = append(fields, member{"messages", messages}, member{"max_tokens", raw("1e3")})
	case rederive.FormatChat:
		if a.system != "" {
			messages = append([]object{{{"role", pick(d, "system", "developer")}, {"content", a.content(a.system)}}}, messages...)
		}
		fields = append(fields, member{"messages", messages})
		if options := a.streamOptions(); options != nil {
			fields = append(fields, member{"stream_options", options})
			request.hasUsage = options[0].value == true
		}
	case rederive.FormatResponses:
		fields = append(fields, a.input(messages)...)
	}
	fields = append(fields, member{"x_unknown", d.unknown().value}, member{"temperature", raw("1.0")})
	d.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	if d.oneIn(25) {
		request.refused = true
		fields = a.spoil(fields)
	}
	request.body = d.encode(closed(fields))
	if request.refused && d.oneIn(3) {
		request.body = request.body[:d.IntN(len(request.body))]
	}
	return request
}

// spoil makes a body that must be refused.
func (a *asker) spoil(fields object) object {
	switch a.IntN(3) {
	case 0:
		return append(fields, member{pick(a.dice, "model", "Model", "TEMPERATURE", "temperature"), "twice"})
	case 1:
		return fields.with("model", pick[any](a.dice, absent{}, nil, "", 7))
	}
	return append(fields, member{"broken", raw(pick(a.dice, "tru", "01", "\"\x01\"", "{]", `"\x"`))})
}

func (a *asker) streamOptions() object {
	switch a.IntN(4) {
	case 0:
		return object{{"include_usage", true}}
	case 1:
		return object{{"include_usage", false}, {"include_obfuscation", false}}
	}
	return nil
}

// input returns the input of a Responses request, which takes the place of messages.
func (a *asker) input(messages []object) object {
	var fields object
	switch {
	case a.system == "":
	case a.oneIn(2):
		fields = append(fields, member{"instructions", a.system})
	default:
		fields = append(fields, member{"instructions", pick[any](a.dice, absent{}, nil, "")})
		messages = append([]object{{{"type", "message"}, {"role", "developer"}, {"content", a.content(a.system)}}}, messages...)
	}
	if a.oneIn(6) && a.system == "" {
		return append(fields, member{"input", a.typed()}, member{"previous_response_id", "resp_0"})
	}
	return append(fields, member{"input", messages}, member{"store", false})
}

// identify gives the request the marks by which its sender is recognised.
func (a *asker) identify() {
	set := func(name, value string) { a.header.Set(name, value) }
	set("User-Agent", a.sender.agent)
	a.system = a.sender.system
	if a.system == "" && a.oneIn(2) {
		a.system = pick(a.dice, "Be brief.", "You are a helpful assistant", "you are cline")
	}
	for mark := range slices.Chunk(a.sender.marks, 2) {
		set(mark[0], mark[1])
	}
	for _, name := range a.sender.sessions {
		switch a.IntN(3) {
		case 0:
			set(name, "session-"+a.word())
		case 1:
			set(name, "  ")
		}
	}
	switch {
	case a.sender.userID:
		id := pick[any](a.dice,
			string(`{"device_id":"d","account_uuid":"","session_id":"s-`+a.word()+`"}`), "user_ab12_account__session_s-"+a.word(),
			"user_ab12", `{"session_id":7}`, "", 7,
		)
		a.fields = append(a.fields, member{"metadata", closed{{"user_id", id}, {"x", 1}}})
	case a.sender.cacheKey != "" && a.oneIn(2):
		a.fields = append(a.fields, member{"prompt_cache_key", a.sender.cacheKey + a.word()})
	case a.oneIn(8):
		a.fields = append(a.fields, member{"prompt_cache_key", "other"}, member{"metadata", nil})
	}
}

// content returns text as a message's content: a string, or parts.
func (a *asker) content(parts ...string) any {
	if len(parts) == 1 && a.oneIn(2) {
		return parts[0]
	}
	kind := "text"
	if a.format == rederive.FormatResponses {
		kind = "input_text"
	}
	content := list{}
	for _, part := range parts {
		content = append(content, object{{"type", kind}, {"text", part}, {"cache_control", maybe(a.dice, 2, object{{"type", "ephemeral"}})}})
		if a.oneIn(5) {
			content = append(content, object{{"type", pick(a.dice, "image", "image_url", "input_image", "document")}, {"text", nil}})
		}
	}
	return content
}

func (a *asker) message(role string, content any) object {
	message := object{{"role", role}, {"content", content}}
	if a.format == rederive.FormatResponses && a.oneIn(2) {
		message = append(message, member{"type", "message"})
	}
	return message
}

// typed returns the text that a person types. It seldom looks like a client's own text.
func (a *asker) typed() string {
	if a.oneIn(6) {
		return pick(a.dice, "<system-reminder>mine</system-reminder> and more", "see <environment_details>x</environment_details> here",
			"Tool loaded. Go on", " ", "", "<current_datetime>no line",
			"<current_datetime>now</current_datetime>\nand then", "an open <system-reminder>")
	}
	return a.text()
}

// wrapped returns a message's content: the typed text and what its sender puts around it.
func (a *asker) wrapped() any {
	typed := a.typed()
	wrap := func() string {
		tag := pick(a.dice, a.sender.wrappers...)
		return "<" + tag + ">" + a.text() + "</" + tag + ">"
	}
	switch {
	case a.sender.line != "" && a.oneIn(2):
		return a.content("<" + a.sender.line + ">2026-11-02</" + a.sender.line + ">\n\n" + typed)
	case len(a.sender.wrappers) == 0 || a.oneIn(3):
		if a.oneIn(3) {
			return a.content(typed, a.typed())
		}
		return a.content(typed)
	case a.oneIn(3):
		return wrap() + pick(a.dice, "\n", "", "\r\n\r\n") + typed + pick(a.dice, "\n"+wrap(), "")
	case a.oneIn(4):
		return a.content(wrap())
	}
	return a.content(wrap(), typed, pick(a.dice, "\n "+wrap()+"\n", typed))
}

// conversation returns the messages of a request.
func (a *asker) conversation() []object {
	var messages []object
	if a.sender.opening != "" && a.oneIn(4) {
		messages = append(messages, a.message("user", a.content(a.sender.opening)))
		if a.oneIn(2) {
			return messages
		}
	}
	for range a.upTo(2) {
		messages = append(messages, a.message("user", a.content(a.text())), a.message("assistant", "Hm."))
	}
	switch a.IntN(8) {
	case 0:
	case 1:
		messages = append(messages, a.message("user", a.wrapped()), a.message("assistant", "{"))
	case 2, 3:
		messages = append(messages, a.results()...)
	default:
		messages = append(messages, a.message("user", a.wrapped()))
	}
	if a.oneIn(4) {
		messages = append(messages, a.message(pick(a.dice, "system", "developer"), a.content("# Environment\nx")))
	}
	return messages
}

// results returns messages with tool results, for the end of a conversation.
func (a *asker) results() []object {
	var ids []string
	for range 1 + a.upTo(2) {
		ids = append(ids, "call_"+a.word())
	}
	var results []object
	switch a.format {
	case rederive.FormatMessages:
		content := list{}
		for _, id := range ids {
			content = append(content, object{{"type", "tool_result"}, {"tool_use_id", id}, {"content", list{object{{"type", "text"}, {"text", "out"}}}}})
		}
		for range a.upTo(2) {
			text := a.typed()
			if len(a.sender.fixed) > 0 && a.oneIn(2) {
				text = pick(a.dice, a.sender.fixed...)
			}
			content = insert(a.dice, content, 0, any(object{{"type", "text"}, {"text", text}}))
		}
		return []object{a.message("user", content)}
	case rederive.FormatChat:
		for _, id := range ids {
			results = append(results, object{{"role", "tool"}, {"tool_call_id", id}, {"content", "out"}})
		}
	case rederive.FormatResponses:
		for _, id := range ids {
			kind := pick(a.dice, "function_call_output", "custom_tool_call_output", "local_shell_call_output", "tool_search_output")
			results = append(results, object{{"type", kind}, {"call_id", id}, {"output", "out"}})
		}
	}
	if a.oneIn(4) {
		results = append(results, a.message("user", a.content(strings.TrimSpace("And now? "+a.typed()))))
	}
	return results
}
