package fakellm

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// responses is the OpenAI Responses API.
func responses() format {
	return format{
		name: "responses", requestID: "X-Request-Id", answerID: "resp_",
		read: readResponses, call: responsesCall, events: responsesEvents, body: responsesBody,
		failure: responsesFailure, refusal: openAIRefusal, insist: responsesInsist, remember: responsesRemember,
	}
}

// responsesTool is the declaration of a tool, or of a namespace of tools.
type responsesTool struct {
	Type  string          `json:"type"`
	Name  string          `json:"name"`
	Tools []responsesTool `json:"tools"`
}

func readResponses(body []byte) (ask, error) {
	var request struct {
		Model        string          `json:"model"`
		Stream       bool            `json:"stream"`
		Instructions json.RawMessage `json:"instructions"`
		Input        json.RawMessage `json:"input"`
		Tools        []responsesTool `json:"tools"`

		PreviousResponseID string          `json:"previous_response_id"`
		Conversation       json.RawMessage `json:"conversation"`
		Store              *bool           `json:"store"`
		Include            []string        `json:"include"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return ask{}, err
	}
	a := ask{model: request.Model, stream: request.Stream, tools: map[string]tool{}}
	if err := json.Unmarshal(body, &a.echo); err != nil {
		return ask{}, err
	}
	a.declareAll(request.Tools, "")
	a.chain = chain{
		after: request.PreviousResponseID, conversation: conversationID(request.Conversation),
		store: request.Store == nil || *request.Store, encrypted: slices.Contains(request.Include, "reasoning.encrypted_content"),
		size: len(body),
	}
	instructions, err := texts(request.Instructions)
	if err != nil {
		return ask{}, err
	}
	a.messages = append(a.messages, utterance{from: fromSystem, texts: instructions})
	return a, a.readInput(request.Input)
}

// conversationID returns the id of a conversation, which is named by its id or by an object with it.
func conversationID(conversation json.RawMessage) string {
	var named struct {
		ID string `json:"id"`
	}
	var id string
	if json.Unmarshal(conversation, &id) != nil && json.Unmarshal(conversation, &named) == nil {
		id = named.ID
	}
	return id
}

// declareAll notes tools, including those within namespaces.
func (a *ask) declareAll(list []responsesTool, namespace string) {
	for _, t := range list {
		if t.Type == "namespace" && namespace == "" {
			a.declareAll(t.Tools, t.Name)
			continue
		}
		a.declare(t.Name, tool{custom: t.Type == "custom", namespace: namespace})
	}
}

// readInput reads the input, which is a string or a list of items.
func (a *ask) readInput(input json.RawMessage) error {
	if len(input) == 0 || input[0] != '[' {
		typed, err := texts(input)
		a.messages = append(a.messages, utterance{from: fromUser, texts: typed})
		return err
	}
	var items []responsesItem
	if err := json.Unmarshal(input, &items); err != nil {
		return err
	}
	for _, item := range items {
		a.declareAll(item.Tools, "")
		said, err := item.read()
		if err != nil {
			return err
		}
		a.messages = append(a.messages, said)
	}
	return nil
}

// responsesItem is one item of the input.
type responsesItem struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
	Output  json.RawMessage `json:"output"`
	Tools   []responsesTool `json:"tools"` // In an item of type additional_tools, by which Codex declares all of its tools.

	ID        string `json:"id"`
	CallID    string `json:"call_id"`
	Encrypted string `json:"encrypted_content"`
}

func (item responsesItem) read() (said utterance, err error) {
	said.item = itemOf(item)
	switch {
	case strings.HasSuffix(item.Type, "_output"):
		said.from, said.results, said.answers = fromTools, []string{""}, []string{item.CallID}
		said.results[0], err = result(item.Output)
	case item.Role != "":
		said.from = speakerOf(item.Role)
		said.texts, err = texts(item.Content)
	default:
		said.from = fromModel // Calls, reasoning and the like come from the model.
		if item.CallID != "" {
			said.calls = []string{item.CallID}
		}
	}
	return said, err
}

func responsesCall(c ToolCall, request ask, id func(string) string) (ToolCall, error) {
	declared := request.tools[c.Name]
	c.ID, c.Namespace, c.custom = id("call_"), declared.namespace, declared.custom
	if c.custom {
		c.ItemID = id("ctc_")
	} else {
		c.ItemID, c.Input = id("fc_"), orEmptyObject(c.Input)
	}
	return c, nil
}

func responsesBody(request ask, a reply) object {
	return responsesObject(request, a, a.status(), responsesOutput(request, a))
}

// status returns the status of the answer, and of its last item.
func (a reply) status() string {
	if a.cutOff {
		return "incomplete"
	}
	return "completed"
}

// callStatus returns the status of the nth call.
func (a reply) callStatus(n int) string {
	if n == a.cutCall() {
		return "incomplete"
	}
	return "completed"
}

// responsesOutput returns the items of a whole answer.
func responsesOutput(request ask, a reply) []object {
	output := []object{}
	for i, thought := range a.thoughts {
		item := reasoningItem(a, i, []object{{"type": "summary_text", "text": thought}})
		if request.chain.encrypted {
			item["encrypted_content"] = encrypted(thought)
		}
		output = append(output, item)
	}
	if a.hasFirstMessage() {
		status := "completed"
		if len(a.calls) == 0 && a.after == "" {
			status = a.status()
		}
		output = append(output, messageItem(a, 0, status, []object{outputText(a.text)}))
	}
	for i, c := range a.calls {
		output = append(output, callItem(c, a.callStatus(i), c.Input))
	}
	if a.after != "" {
		output = append(output, messageItem(a, 1, a.status(), []object{outputText(a.after)}))
	}
	return output
}

func reasoningItem(a reply, number int, summary []object) object {
	return object{"id": a.newID("rs_", number), "type": "reasoning", "summary": summary}
}

// hasFirstMessage reports whether there is a message before the calls: an answer of nothing has an empty one.
func (a reply) hasFirstMessage() bool { return a.text != "" || len(a.calls) == 0 && a.after == "" }

func messageItem(a reply, number int, status string, content []object) object {
	return object{
		"id": a.newID("msg_", number), "type": "message", "status": status, "role": "assistant", "content": content,
	}
}

func outputText(text string) object {
	return object{"type": "output_text", "text": text, "annotations": []object{}, "logprobs": []object{}}
}

func callItem(c ToolCall, status, input string) object {
	item := object{"id": c.ItemID, "status": status, "call_id": c.ID, "name": c.Name}
	if c.custom {
		item["type"], item["input"] = "custom_tool_call", input
	} else {
		item["type"], item["arguments"] = "function_call", input
	}
	if c.Namespace != "" {
		item["namespace"] = c.Namespace
	}
	return item
}

// responsesObject returns the response object. Much of it only repeats the request.
func responsesObject(request ask, a reply, status string, output []object) object {
	response := object{
		"id": a.id, "object": "response", "created_at": a.created, "status": status, "model": request.model,
		"output": output, "error": nil, "incomplete_details": nil, "background": false, "service_tier": "default",
		"usage": nil,
	}
	for field, otherwise := range map[string]string{
		"instructions": "null", "max_output_tokens": "null", "metadata": "{}", "parallel_tool_calls": "true",
		"previous_response_id": "null", "prompt_cache_key": "null", "reasoning": `{"effort":null,"summary":null}`,
		"store": "true", "temperature": "1", "text": `{"format":{"type":"text"}}`, "tool_choice": `"auto"`,
		"tools": "[]", "top_p": "1", "truncation": `"disabled"`, "user": "null",
	} {
		response[field] = json.RawMessage(cmp.Or(string(request.echo[field]), otherwise))
	}
	if status != "in_progress" {
		response["usage"] = responsesUsage(a.usage)
	}
	if status == "incomplete" {
		response["incomplete_details"] = object{"reason": "max_output_tokens"}
	}
	return response
}

// responsesUsage adds the cached tokens to the input's, as this API does.
func responsesUsage(u Usage) object {
	input := u.Input + u.CacheRead + u.CacheWrite
	return object{
		"input_tokens": input, "output_tokens": u.Output, "total_tokens": input + u.Output,
		"input_tokens_details":  object{"cached_tokens": u.CacheRead, "cache_write_tokens": u.CacheWrite},
		"output_tokens_details": object{"reasoning_tokens": u.Thinking},
	}
}
