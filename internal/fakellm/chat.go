package fakellm

import (
	"encoding/json"
	"strings"
)

// chat is the OpenAI Chat Completions API.
func chat() format {
	return format{
		name: "chat", requestID: "X-Request-Id", answerID: "chatcmpl-",
		read: readChat, call: chatCall, events: chatEvents, body: chatBody,
		failure: chatFailure, refusal: openAIRefusal, insist: chatInsist,
	}
}

func readChat(body []byte) (ask, error) {
	var request struct {
		Model         string `json:"model"`
		Stream        bool   `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		Messages []struct {
			Role      string          `json:"role"`
			Content   json.RawMessage `json:"content"`
			ToolCalls []struct {
				ID string `json:"id"`
			} `json:"tool_calls"`
			ToolCallID string `json:"tool_call_id"`
		} `json:"messages"`
		Tools []struct {
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return ask{}, err
	}
	a := ask{
		model: request.Model, stream: request.Stream, usageWanted: request.StreamOptions.IncludeUsage,
		tools: map[string]tool{},
	}
	for _, t := range request.Tools {
		a.declare(t.Function.Name, tool{})
	}
	for _, m := range request.Messages {
		said := utterance{from: speakerOf(m.Role)}
		var err error
		if said.from == fromTools {
			said.results, said.answers = []string{""}, []string{m.ToolCallID}
			said.results[0], err = result(m.Content)
		} else {
			for _, call := range m.ToolCalls {
				said.calls = append(said.calls, call.ID)
			}
			said.texts, err = texts(m.Content)
		}
		if err != nil {
			return ask{}, err
		}
		a.messages = append(a.messages, said)
	}
	return a, nil
}

func chatCall(c ToolCall, _ ask, id func(string) string) (ToolCall, error) {
	c.ID, c.Input = id("call_"), orEmptyObject(c.Input)
	return c, nil
}

func chatBody(request ask, a reply) object {
	message := object{"role": "assistant", "content": nil, "refusal": nil, "annotations": []object{}}
	if text := a.text + a.after; text != "" || len(a.calls) == 0 {
		message["content"] = text
	}
	if len(a.thoughts) > 0 {
		message["reasoning_content"] = strings.Join(a.thoughts, "\n")
	}
	calls := []object{}
	for _, c := range a.calls {
		calls = append(calls, object{
			"id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": c.Input},
		})
	}
	if len(calls) > 0 {
		message["tool_calls"] = calls
	}
	body := chatObject(request, a, "chat.completion")
	body["choices"] = []object{{"index": 0, "message": message, "logprobs": nil, "finish_reason": chatFinish(a)}}
	body["usage"] = chatUsage(a.usage)
	return body
}

// chatObject returns the members that chunks and whole answers have in common.
func chatObject(request ask, a reply, kind string) object {
	return object{
		"id": a.id, "object": kind, "created": a.created, "model": request.model,
		"service_tier": "default", "system_fingerprint": "fp_fakellm",
	}
}

func chatFinish(a reply) string {
	switch {
	case a.cutOff:
		return "length"
	case len(a.calls) > 0:
		return "tool_calls"
	}
	return "stop"
}

// chatUsage adds the cached tokens to the prompt's, as this API does.
func chatUsage(u Usage) object {
	prompt := u.Input + u.CacheRead + u.CacheWrite
	return object{
		"prompt_tokens": prompt, "completion_tokens": u.Output, "total_tokens": prompt + u.Output,
		"prompt_tokens_details": object{
			"cached_tokens": u.CacheRead, "cache_write_tokens": u.CacheWrite, "audio_tokens": 0,
		},
		"completion_tokens_details": object{
			"reasoning_tokens": u.Thinking, "audio_tokens": 0,
			"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
		},
	}
}

// chatStream collects chunks.
type chatStream struct {
	request ask
	answer  reply
	events  []event
}

func (s *chatStream) delta(delta object, finish any) {
	s.chunk([]object{{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}}, nil)
}

func (s *chatStream) chunk(choices []object, usage any) {
	data := chatObject(s.request, s.answer, "chat.completion.chunk")
	data["choices"] = choices
	if s.request.usageWanted {
		data["usage"] = usage
	}
	s.events = append(s.events, event{data: encode(data)})
}

func chatEvents(request ask, a reply) []event {
	s := chatStream{request: request, answer: a}
	s.delta(object{"role": "assistant", "content": "", "refusal": nil}, nil)
	for _, piece := range pieces(strings.Join(a.thoughts, "\n")) {
		s.delta(object{"reasoning_content": piece}, nil)
	}
	for _, piece := range pieces(a.text) {
		s.delta(object{"content": piece}, nil)
	}
	for i, c := range a.calls {
		s.delta(object{"tool_calls": []object{{
			"index": i, "id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": ""},
		}}}, nil)
		for _, piece := range inputPieces(c.Input) {
			s.delta(object{"tool_calls": []object{{"index": i, "function": object{"arguments": piece}}}}, nil)
		}
	}
	for _, piece := range pieces(a.after) {
		s.delta(object{"content": piece}, nil)
	}
	s.delta(object{}, chatFinish(a))
	if request.usageWanted {
		s.chunk([]object{}, chatUsage(a.usage))
	}
	return append(s.events, event{data: []byte("[DONE]")})
}

func chatFailure(f failure, _ int) event {
	return event{data: encode(object{"error": object{"type": f.kind, "message": f.message, "param": nil, "code": nil}})}
}
