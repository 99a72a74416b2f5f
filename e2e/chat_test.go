package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/respjson"
)

// chatTalk is a conversation through openai-go's chat completions.
type chatTalk struct {
	settings settings
	client   openai.Client
	params   openai.ChatCompletionNewParams
	last     openai.ChatCompletion
	thoughts string // The thoughts of the last answer; the SDK has no field for them.
}

func openChat(s settings) talk {
	t := newChatTalk(s)
	t.params.StreamOptions.IncludeUsage = openai.Bool(s.stream)
	return t
}

// newChatTalk returns a conversation that does not ask for its usage.
func newChatTalk(s settings) *chatTalk {
	t := &chatTalk{settings: s, client: openAIClient(s), params: openai.ChatCompletionNewParams{Model: "fake-chat"}}
	for _, name := range s.tools {
		t.params.Tools = append(t.params.Tools, openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: name}))
	}
	return t
}

func openAIClient(s settings) openai.Client {
	options := []option.RequestOption{option.WithBaseURL(s.base), option.WithHTTPClient(s.http), option.WithMaxRetries(0)}
	if s.key != "" {
		options = append(options, option.WithAPIKey(s.key))
	}
	for name, values := range s.header {
		options = append(options, option.WithHeader(name, values[0]))
	}
	return openai.NewClient(options...)
}

func (t *chatTalk) ask(ctx context.Context, prompt string) (decodedAnswer, error) {
	var messages []openai.ChatCompletionMessageParamUnion
	if t.last.ID != "" {
		messages = append(messages, t.last.Choices[0].Message.ToParam())
	}
	return t.send(ctx, append(messages, openai.UserMessage(prompt))...)
}

func (t *chatTalk) reply(ctx context.Context, results ...string) (decodedAnswer, error) {
	message := t.last.Choices[0].Message
	messages := []openai.ChatCompletionMessageParamUnion{message.ToParam()}
	for i, call := range message.ToolCalls {
		messages = append(messages, openai.ToolMessage(results[i], call.ID))
	}
	return t.send(ctx, messages...)
}

func (t *chatTalk) send(ctx context.Context, messages ...openai.ChatCompletionMessageParamUnion) (decodedAnswer, error) {
	t.params.Messages = append(t.params.Messages, messages...)
	if !t.settings.stream {
		// Only a stream may ask for its usage: an answer that is not streamed always has it, and asking is an error.
		t.params.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
		completion, err := t.client.Chat.Completions.New(ctx, t.params)
		if err != nil {
			return decodedAnswer{}, err
		}
		t.last = *completion
		t.thoughts = reasoning(completion.Choices[0].Message.JSON.ExtraFields)
		return t.answer(), nil
	}
	stream := t.client.Chat.Completions.NewStreaming(ctx, t.params)
	var whole openai.ChatCompletionAccumulator
	var usage openai.CompletionUsage
	var thoughts strings.Builder
	for stream.Next() {
		chunk := stream.Current()
		if !whole.AddChunk(chunk) {
			return decodedAnswer{}, errors.Join(errors.New("the SDK refused a chunk"), stream.Close())
		}
		if chunk.JSON.Usage.Valid() {
			usage = chunk.Usage // The accumulator drops some of its fields.
		}
		for _, choice := range chunk.Choices {
			thoughts.WriteString(reasoning(choice.Delta.JSON.ExtraFields))
		}
		t.settings.saw()
	}
	t.last, t.thoughts = whole.ChatCompletion, thoughts.String()
	t.last.Usage = usage
	return t.answer(), errors.Join(stream.Err(), stream.Close())
}

// reasoning returns the reasoning in the fields that providers add to those that OpenAI defines.
func reasoning(extra map[string]respjson.Field) string {
	var text string
	if field, ok := extra["reasoning_content"]; ok && json.Unmarshal([]byte(field.Raw()), &text) != nil {
		return "reasoning_content is no string: " + field.Raw()
	}
	return text
}

func (t *chatTalk) answer() decodedAnswer {
	c := t.last
	cached, written := c.Usage.PromptTokensDetails.CachedTokens, c.Usage.PromptTokensDetails.CacheWriteTokens
	a := decodedAnswer{
		ID: c.ID, Model: c.Model, Tier: string(c.ServiceTier),
		Tokens: tokens{c.Usage.PromptTokens - cached - written, c.Usage.CompletionTokens, cached, written},
		Details: map[string]int64{
			"prompt_audio":                   c.Usage.PromptTokensDetails.AudioTokens,
			"completion_audio":               c.Usage.CompletionTokensDetails.AudioTokens,
			"completion_reasoning":           c.Usage.CompletionTokensDetails.ReasoningTokens,
			"completion_accepted_prediction": c.Usage.CompletionTokensDetails.AcceptedPredictionTokens,
			"completion_rejected_prediction": c.Usage.CompletionTokensDetails.RejectedPredictionTokens,
		},
	}
	if t.thoughts != "" {
		a.Thoughts = []string{t.thoughts}
	}
	for _, choice := range c.Choices {
		a.Text += choice.Message.Content
		for _, use := range choice.Message.ToolCalls {
			a.Calls = append(a.Calls, call{ID: use.ID, Tool: use.Function.Name, Input: use.Function.Arguments})
		}
	}
	return a
}
