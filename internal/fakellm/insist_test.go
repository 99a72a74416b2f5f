package fakellm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// agent goes on with a conversation in one format, as a client or a gateway does.
type agent struct {
	t      *testing.T
	server *Server
	format string
	stored bool // Responses only: it sends only what is new.
	body   object
	turns  []any // The messages, or the items of the input.
	last   object
}

func newAgent(t *testing.T, format, prompt string) *agent {
	t.Helper()
	a := &agent{t: t, server: New(Options{}), format: format, turns: []any{object{"role": "user", "content": prompt}}}
	names := []string{"Bash", "bmcp_srv_one", "bmcp_srv_two"}
	var tools []object
	for _, name := range names {
		switch format {
		case "chat":
			tools = append(tools, object{"type": "function", "function": object{"name": name}})
		case "responses":
			tools = append(tools, object{"type": "function", "name": name})
		default:
			tools = append(tools, object{"name": name, "input_schema": object{}})
		}
	}
	a.body = object{"model": "x", "tools": tools}
	if format == "messages" {
		a.body["thinking"] = object{"type": "adaptive"}
	}
	return a
}

// send sends the conversation and keeps the answer. It returns the status and the text of an error.
func (a *agent) send() (status int, text string) {
	a.t.Helper()
	member := "messages"
	if a.format == "responses" {
		member = "input"
	}
	a.body[member] = a.turns
	w := post(a.t, a.server, paths()[a.format], string(encode(a.body)))
	answer := decode(a.t, w.Body.Bytes())
	if w.Code != 200 {
		return w.Code, fmt.Sprint(at(a.t, answer, "error", "message"))
	}
	a.last = answer
	return w.Code, ""
}

// goOn sends the conversation, appends the answer, and returns the ids and names of its calls.
func (a *agent) goOn() (ids, names []string) {
	a.t.Helper()
	if status, text := a.send(); status != 200 {
		a.t.Fatalf("%s: %d %s", a.format, status, text)
	}
	if a.stored {
		a.body["previous_response_id"], a.turns = a.last["id"], nil
	}
	switch a.format {
	case "messages":
		a.turns = append(a.turns, object{"role": "assistant", "content": a.last["content"]})
	case "chat":
		a.turns = append(a.turns, at(a.t, a.last, "choices", 0, "message"))
	case "responses":
		if !a.stored {
			a.turns = append(a.turns, a.last["output"].([]any)...)
		}
	}
	for _, call := range a.server.Served()[len(a.server.Served())-1].ToolCalls {
		ids, names = append(ids, call.ID), append(names, call.Name)
	}
	return ids, names
}

// answer appends a result for each of the calls.
func (a *agent) answer(ids ...string) {
	var blocks []any
	for _, id := range ids {
		switch a.format {
		case "messages":
			blocks = append(blocks, object{"type": "tool_result", "tool_use_id": id, "content": "result of " + id})
		case "chat":
			a.turns = append(a.turns, object{"role": "tool", "tool_call_id": id, "content": "result of " + id})
		case "responses":
			a.turns = append(a.turns, object{"type": "function_call_output", "call_id": id, "output": "result of " + id})
		}
	}
	if a.format == "messages" && len(blocks) > 0 {
		a.turns = append(a.turns, object{"role": "user", "content": blocks})
	}
}

// say appends what a person types.
func (a *agent) say(text string) { a.turns = append(a.turns, object{"role": "user", "content": text}) }

const rounds = `[[think: hm]] [[text: I look.]] [[tool: bmcp_* {"a":1}]] [[tool: Bash {"command":"ls"}]] ` +
	`[[then]] [[tool: bmcp_srv_t*]] [[tool: bmcp_srv_t*]] [[then]] [[think: well]] [[tool: Bash]] [[then]] [[text: done]]`

// TestRoundsOfToolCalls goes through several rounds: ours and the client's, in one turn and alone, several at once.
func TestRoundsOfToolCalls(t *testing.T) {
	for format := range paths() {
		for _, stored := range []bool{false, true} {
			if stored && format != "responses" {
				continue
			}
			t.Run(fmt.Sprint(format, " ", stored), func(t *testing.T) {
				a := newAgent(t, format, rounds)
				a.stored = stored
				if !stored && format == "responses" {
					a.body["store"], a.body["include"] = false, []string{"reasoning.encrypted_content"}
				}
				var all []string
				for _, want := range []string{"bmcp_srv_one Bash", "bmcp_srv_two bmcp_srv_two", "Bash", ""} {
					ids, names := a.goOn()
					if got := strings.Join(names, " "); got != want {
						t.Errorf("called %q, want %q", got, want)
					}
					all = append(all, ids...)
					a.answer(ids...)
				}
				if slices.Sort(all); len(slices.Compact(all)) != 5 {
					t.Errorf("the ids are %v", all)
				}
				if s := a.server.Served(); s[3].Text != "done" {
					t.Errorf("the end: %+v", s[3])
				}
				a.say("thanks")
				if a.goOn(); !strings.Contains(a.server.Served()[4].Text, "thanks") {
					t.Errorf("afterwards: %+v", a.server.Served()[4])
				}
			})
		}
	}
}

func TestCallsOfToolsThatAreNotDeclared(t *testing.T) {
	a := newAgent(t, "chat", "[[tool: bmcp_other_*]]")
	a.goOn()
	if s := a.server.Served()[0]; len(s.ToolCalls) != 0 || s.Text != "I cannot call bmcp_other_*: this request declares no such tool." {
		t.Errorf("%+v", s)
	}
}

// TestWhatProvidersRefuse breaks conversations after a first turn with two calls, in each way that a provider refuses.
func TestWhatProvidersRefuse(t *testing.T) {
	const two = "[[think: hm]] [[think: hm hm]] [[tool: Bash]] [[tool: bmcp_*]]"
	block := func(a *agent, i int) object { return a.turns[1].(object)["content"].([]any)[i].(map[string]any) }
	for _, test := range []struct {
		format, name, want string
		change             func(a *agent, ids []string)
	}{
		{"messages", "no results", "`tool_use` ids were found without `tool_result` blocks immediately after: toolu_fake000001000, toolu_fake000001001.", func(a *agent, _ []string) { a.say("go on") }},
		{"messages", "nothing after the calls", "`tool_use` ids were found without", func(*agent, []string) {}},
		{"messages", "one result", "without `tool_result` blocks immediately after: toolu_fake000001001.", func(a *agent, ids []string) { a.answer(ids[0]) }},
		{"messages", "a result too late", "without `tool_result` blocks immediately after", func(a *agent, ids []string) {
			a.say("before")
			a.answer(ids...)
		}},
		{"messages", "a text before the results", "without `tool_result` blocks immediately after", func(a *agent, ids []string) {
			a.answer(ids...)
			message := a.turns[2].(object)
			message["content"] = append([]any{object{"type": "text", "text": "before"}}, message["content"].([]any)...)
		}},
		{"messages", "a result of nothing", "messages.2.content.2: unexpected `tool_use_id` found in `tool_result` blocks: toolu_other.", func(a *agent, ids []string) { a.answer(append(ids, "toolu_other")...) }},
		{"messages", "two results", "each tool_use must have a single result. Found multiple `tool_result` blocks with id: toolu_fake000001000", func(a *agent, ids []string) { a.answer(append(ids, ids[0])...) }},
		{"messages", "an id twice", "`tool_use` ids must be unique", func(a *agent, ids []string) {
			a.answer(ids...)
			a.turns = append(a.turns, a.turns[1], a.turns[2])
		}},
		{"messages", "a thought that changed", "Invalid `signature` in `thinking` block", func(a *agent, ids []string) {
			a.answer(ids...)
			block(a, 1)["thinking"] = "hm hm."
		}},
		{"messages", "a thought that is gone", "cannot be modified", func(a *agent, ids []string) {
			a.answer(ids...)
			a.turns[1].(object)["content"] = a.turns[1].(object)["content"].([]any)[1:]
		}},
		{"messages", "thoughts in another order", "cannot be modified", func(a *agent, ids []string) {
			a.answer(ids...)
			content := a.turns[1].(object)["content"].([]any)
			content[0], content[1] = content[1], content[0]
		}},
		{"messages", "a thought after a call", "cannot be modified", func(a *agent, ids []string) {
			a.answer(ids...)
			content := a.turns[1].(object)["content"].([]any)
			content[1], content[2] = content[2], content[1]
		}},
		{"chat", "no results", "The following tool_call_ids did not have response messages: call_fake000001000, call_fake000001001", func(a *agent, _ []string) { a.say("go on") }},
		{"chat", "nothing after the calls", "did not have response messages", func(*agent, []string) {}},
		{"chat", "one result", "did not have response messages: call_fake000001001", func(a *agent, ids []string) { a.answer(ids[0]) }},
		{"chat", "something between the results", "did not have response messages: call_fake000001001", func(a *agent, ids []string) {
			a.answer(ids[0])
			a.say("between")
			a.answer(ids[1])
		}},
		{"chat", "a result of nothing", "messages with role 'tool' must be a response", func(a *agent, ids []string) { a.answer(append(ids, "call_other")...) }},
		{"chat", "two results", "messages with role 'tool' must be a response", func(a *agent, ids []string) { a.answer(append(ids, ids[0])...) }},
		{"responses", "no results", "No tool output found for function call call_fake000001000.", func(a *agent, _ []string) { a.say("go on") }},
		{"responses", "one result", "No tool output found for function call call_fake000001001.", func(a *agent, ids []string) { a.answer(ids[0]) }},
		{"responses", "a result of nothing", "No tool call found for function call output with call_id call_other.", func(a *agent, ids []string) { a.answer(append(ids, "call_other")...) }},
		{"responses", "an item twice", "Duplicate item found with id rs_fake000001000.", func(a *agent, ids []string) {
			a.answer(ids...)
			a.turns = append(a.turns, a.turns[1])
		}},
		{"responses", "a call without its reasoning", "Item 'fc_fake000001000' of type 'function_call' was provided without its required 'reasoning' item: 'rs_fake000001000'.", func(a *agent, ids []string) {
			a.turns = slices.Delete(a.turns, 1, 2)
			a.answer(ids...)
		}},
		{"responses", "reasoning alone", "Item 'rs_fake000001001' of type 'reasoning' was provided without its required following item.", func(a *agent, _ []string) { a.turns = a.turns[:3] }},
		{"responses", "reasoning that is not stored", "Item with id 'rs_other' not found.", func(a *agent, ids []string) {
			a.turns[1].(map[string]any)["id"] = "rs_other"
			a.answer(ids...)
		}},
		{"responses", "encrypted reasoning that changed", "The encrypted content for item rs_fake000001000 could not be verified.", func(a *agent, ids []string) {
			a.turns[1].(map[string]any)["encrypted_content"] = strings.Replace(encrypted("hm"), "A", "B", 1) + "AAAA"
			a.answer(ids...)
		}},
		{"responses", "a response that nobody knows", "Previous response with id 'resp_other' not found.", func(a *agent, ids []string) {
			a.body["previous_response_id"], a.turns = "resp_other", nil
			a.answer(ids...)
		}},
		{"responses", "items that are stored", "Duplicate item found with id rs_fake000001000.", func(a *agent, ids []string) {
			a.body["previous_response_id"] = a.last["id"]
			a.answer(ids...)
		}},
		{"responses", "a stored call that has no result", "No tool output found for function call call_fake000001000.", func(a *agent, _ []string) {
			a.body["previous_response_id"], a.turns = a.last["id"], nil
			a.say("go on")
		}},
	} {
		t.Run(test.format+" "+test.name, func(t *testing.T) {
			a := newAgent(t, test.format, two)
			ids, _ := a.goOn()
			test.change(a, ids)
			status, text := a.send()
			want := http.StatusBadRequest
			if strings.HasPrefix(test.want, "Item with id") {
				want = http.StatusNotFound
			}
			if status != want || !strings.Contains(text, test.want) {
				t.Errorf("got %d %s\nwant %d %s", status, text, want, test.want)
			}
			if a.server.Served()[1].Status != status {
				t.Errorf("noted %+v", a.server.Served()[1])
			}
		})
	}
}

func TestErrorsOfChainsHaveTheirCode(t *testing.T) {
	a := newAgent(t, "responses", "hi")
	a.body["previous_response_id"], a.body["input"] = "resp_other", "hi"
	answer := decode(t, post(t, a.server, "/v1/responses", string(encode(a.body))).Body.Bytes())
	if at(t, answer, "error", "code") != "previous_response_not_found" || at(t, answer, "error", "param") != "previous_response_id" {
		t.Errorf("%s", encode(answer))
	}
}

// TestThoughtsMayBeMissingWhereTheyAreOver leaves out the thoughts of earlier turns, and those of a request that asks for none.
func TestThoughtsMayBeMissingWhereTheyAreOver(t *testing.T) {
	a := newAgent(t, "messages", "[[think: hm]] [[tool: Bash]] [[then]] [[text: done]]")
	ids, _ := a.goOn()
	a.answer(ids...)
	a.goOn()
	a.say("[[tool: Bash]]")
	a.turns[1].(object)["content"] = a.turns[1].(object)["content"].([]any)[1:]
	ids, _ = a.goOn()
	a.answer(ids...)
	a.goOn()

	a = newAgent(t, "messages", "[[think: hm]] [[tool: Bash]]")
	delete(a.body, "thinking")
	ids, _ = a.goOn()
	a.turns[1].(object)["content"] = a.turns[1].(object)["content"].([]any)[1:]
	a.answer(ids...)
	a.goOn()
}

// TestConversationsOfResponses continues a conversation by its id, which holds everything before.
func TestConversationsOfResponses(t *testing.T) {
	a := newAgent(t, "responses", "[[tool: Bash]] [[then]] [[text: done]]")
	a.body["conversation"] = object{"id": "conv_1"}
	ids, _ := a.goOn()
	a.turns = nil
	a.answer(ids...)
	a.body["conversation"] = "conv_1"
	if a.goOn(); a.server.Served()[1].Text != "done" {
		t.Errorf("%+v", a.server.Served()[1])
	}
	a.turns = nil
	a.say("hello")
	a.goOn()
}

func TestResponsesThatAreNotStored(t *testing.T) {
	a := newAgent(t, "responses", "hi")
	a.body["store"] = false
	a.goOn()
	a.body["previous_response_id"], a.turns = a.last["id"], nil
	a.say("again")
	if status, text := a.send(); status != 400 || !strings.Contains(text, "not found") {
		t.Errorf("%d %s", status, text)
	}
}

// TestTheServerForgets keeps no more responses than the limit, in number and in bytes.
func TestTheServerForgets(t *testing.T) {
	var m memory
	for i := range maxStored + 5 {
		m.store(fmt.Sprint(i), storedResponse{size: 1})
	}
	if _, ok := m.find("4"); ok || len(m.stored.of) != maxStored {
		t.Errorf("%d are stored", len(m.stored.of))
	}
	if _, ok := m.find("5"); !ok {
		t.Error("one is gone too early")
	}
	m.store("large", storedResponse{size: maxStoredBytes - 10})
	m.store("large", storedResponse{size: maxStoredBytes - 20})
	if _, ok := m.find("large"); !ok || m.bytes > maxStoredBytes || len(m.stored.of) != 11 {
		t.Errorf("%d are stored, with %d bytes", len(m.stored.of), m.bytes)
	}
	for i := range maxKnownIDs + 5 {
		m.note(fmt.Sprint(i), []string{"x"})
	}
	if m.cameBefore("4") != nil || m.cameBefore("5") == nil || len(m.before.of) != maxKnownIDs {
		t.Errorf("%d ids are known", len(m.before.of))
	}
}

func TestMaxTokensCutTheLastCall(t *testing.T) {
	const prompt = `[[tool: Bash {"command":"ls"}]] [[tool: Bash {"command":"pwd"}]] [[max-tokens]]`
	const whole, half = `{"command":"ls"}`, `{"comman`
	for format, want := range map[string][]string{
		"messages":  {`"stop_reason":"max_tokens"`, `"input":{}`},
		"chat":      {`"finish_reason":"length"`, `"arguments":"{\"comman"`},
		"responses": {`"status":"incomplete"`, `"incomplete_details":{"reason":"max_output_tokens"}`, `"arguments":"{\"comman"`},
	} {
		s := New(Options{})
		body := post(t, s, paths()[format], request(t, format, prompt, false)).Body.String()
		for _, part := range want {
			if !strings.Contains(body, part) {
				t.Errorf("%s: no %s in %s", format, part, body)
			}
		}
		made := s.Served()[0].ToolCalls
		if len(made) != 2 || made[0].Input != whole || made[1].Input != half {
			t.Errorf("%s: %+v", format, made)
		}
		names, data := streamed(t, s, format, prompt)
		var input strings.Builder
		for _, e := range data {
			text := string(encode(e))
			_, piece, _ := strings.Cut(text, `"partial_json":`)
			var decoded string
			_ = json.NewDecoder(strings.NewReader(piece)).Decode(&decoded)
			input.WriteString(decoded)
		}
		if format == "messages" && input.String() != whole+half {
			t.Errorf("streamed inputs %s", input.String())
		}
		if last := names[len(names)-1]; format == "responses" && (last != "response.incomplete" || strings.Count(strings.Join(names, " "), "arguments.done") != 1) {
			t.Errorf("events %v", names)
		}
	}
	s := say(t, "/v1/responses", request(t, "responses", "[[text: a b]] [[max-tokens]]", false))
	if s.Text != "a b" {
		t.Errorf("a text: %+v", s)
	}
}

func TestOnlyAStreamOfMessagesHasAnInputThatIsNoJSON(t *testing.T) {
	s := New(Options{})
	names, _ := streamed(t, s, "messages", "[[tool: Bash not json]]")
	if made := s.Served()[0].ToolCalls; len(made) != 1 || made[0].Input != "not json" || names[len(names)-1] != "message_stop" {
		t.Errorf("%+v, %v", made, names)
	}
}
