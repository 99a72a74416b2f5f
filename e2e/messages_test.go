package e2e

import (
	"context"
	"errors"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
)

// messagesTalk is a conversation through anthropic-sdk-go.
type messagesTalk struct {
	settings settings
	client   anthropic.Client
	params   anthropic.MessageNewParams
	last     anthropic.Message
}

func openMessages(s settings) talk {
	t := &messagesTalk{
		settings: s,
		client:   anthropicClient(s),
		params:   anthropic.MessageNewParams{Model: "fake-messages", MaxTokens: 1000},
	}
	for _, name := range s.tools {
		t.params.Tools = append(t.params.Tools, anthropic.ToolUnionParam{OfTool: &anthropic.ToolParam{Name: name}})
	}
	return t
}

func anthropicClient(s settings) anthropic.Client {
	options := []option.RequestOption{
		option.WithoutEnvironmentDefaults(), option.WithBaseURL(s.base), option.WithHTTPClient(s.http), option.WithMaxRetries(0),
	}
	if s.key != "" {
		options = append(options, option.WithAPIKey(s.key))
	}
	for name, values := range s.header {
		options = append(options, option.WithHeader(name, values[0]))
	}
	return anthropic.NewClient(options...)
}

func (t *messagesTalk) ask(ctx context.Context, prompt string) (decodedAnswer, error) {
	if t.last.ID != "" {
		t.params.Messages = append(t.params.Messages, t.last.ToParam())
	}
	return t.send(ctx, anthropic.NewTextBlock(prompt))
}

func (t *messagesTalk) reply(ctx context.Context, results ...string) (decodedAnswer, error) {
	t.params.Messages = append(t.params.Messages, t.last.ToParam())
	var blocks []anthropic.ContentBlockParamUnion
	for i, call := range t.calls() {
		blocks = append(blocks, anthropic.NewToolResultBlock(call.ID, results[i], false))
	}
	return t.send(ctx, blocks...)
}

func (t *messagesTalk) send(ctx context.Context, blocks ...anthropic.ContentBlockParamUnion) (decodedAnswer, error) {
	t.params.Messages = append(t.params.Messages, anthropic.NewUserMessage(blocks...))
	if !t.settings.stream {
		message, err := t.client.Messages.New(ctx, t.params)
		if err != nil {
			return decodedAnswer{}, err
		}
		t.last = *message
		return t.answer(), nil
	}
	stream := t.client.Messages.NewStreaming(ctx, t.params)
	t.last = anthropic.Message{}
	for stream.Next() {
		if err := t.last.Accumulate(stream.Current()); err != nil {
			return t.answer(), errors.Join(err, stream.Close())
		}
		t.settings.saw()
	}
	return t.answer(), errors.Join(stream.Err(), stream.Close())
}

func (t *messagesTalk) calls() []anthropic.ToolUseBlock {
	var calls []anthropic.ToolUseBlock
	for _, block := range t.last.Content {
		if use, ok := block.AsAny().(anthropic.ToolUseBlock); ok {
			calls = append(calls, use)
		}
	}
	return calls
}

func (t *messagesTalk) answer() decodedAnswer {
	m := t.last
	a := decodedAnswer{
		ID: m.ID, Model: m.Model, Tier: string(m.Usage.ServiceTier),
		Tokens: tokens{m.Usage.InputTokens, m.Usage.OutputTokens, m.Usage.CacheReadInputTokens, m.Usage.CacheCreationInputTokens},
		Details: map[string]int64{
			"output_thinking":          m.Usage.OutputTokensDetails.ThinkingTokens,
			"cache_ephemeral_5m_input": m.Usage.CacheCreation.Ephemeral5mInputTokens,
			"cache_ephemeral_1h_input": m.Usage.CacheCreation.Ephemeral1hInputTokens,
		},
	}
	for _, block := range m.Content {
		switch block := block.AsAny().(type) {
		case anthropic.ThinkingBlock:
			a.Thoughts = append(a.Thoughts, block.Thinking)
		case anthropic.TextBlock:
			a.Text += block.Text
		}
	}
	for _, use := range t.calls() {
		a.Calls = append(a.Calls, call{ID: use.ID, Tool: use.Name, Input: string(use.Input)})
	}
	return a
}
