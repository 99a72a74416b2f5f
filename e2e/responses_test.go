package e2e

import (
	"context"
	"errors"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// responsesTalk is a conversation through openai-go's responses.
type responsesTalk struct {
	settings settings
	client   openai.Client
	params   responses.ResponseNewParams
	last     responses.Response
}

func openResponses(s settings) talk {
	t := &responsesTalk{settings: s, client: openAIClient(s), params: responses.ResponseNewParams{Model: "fake-responses"}}
	for _, name := range s.tools {
		tool := &responses.FunctionToolParam{Name: name, Parameters: map[string]any{}, Strict: openai.Bool(false)}
		t.params.Tools = append(t.params.Tools, responses.ToolUnionParam{OfFunction: tool})
	}
	return t
}

func (t *responsesTalk) ask(ctx context.Context, prompt string) (decodedAnswer, error) {
	if t.last.ID != "" {
		t.params.PreviousResponseID = openai.String(t.last.ID)
	}
	t.params.Input = responses.ResponseNewParamsInputUnion{OfString: openai.String(prompt)}
	return t.send(ctx)
}

func (t *responsesTalk) reply(ctx context.Context, results ...string) (decodedAnswer, error) {
	t.params.PreviousResponseID = openai.String(t.last.ID)
	t.params.Input = responses.ResponseNewParamsInputUnion{}
	for i, call := range t.answer().Calls {
		item := responses.ResponseInputItemParamOfFunctionCallOutput(results[i])
		item.OfFunctionCallOutput.CallID = openai.String(call.ID)
		t.params.Input.OfInputItemList = append(t.params.Input.OfInputItemList, item)
	}
	return t.send(ctx)
}

func (t *responsesTalk) send(ctx context.Context) (decodedAnswer, error) {
	if !t.settings.stream {
		response, err := t.client.Responses.New(ctx, t.params)
		if err != nil {
			return decodedAnswer{}, err
		}
		t.last = *response
		return t.answer(), nil
	}
	stream := t.client.Responses.NewStreaming(ctx, t.params)
	t.last = responses.Response{}
	var failed error
	for stream.Next() {
		switch event := stream.Current().AsAny().(type) {
		case responses.ResponseCompletedEvent:
			t.last = event.Response
		case responses.ResponseErrorEvent:
			failed = errors.New(event.Message) // The SDK does not turn it into an error.
		}
		t.settings.saw()
	}
	return t.answer(), errors.Join(failed, stream.Err(), stream.Close())
}

func (t *responsesTalk) answer() decodedAnswer {
	r := t.last
	cached, written := r.Usage.InputTokensDetails.CachedTokens, r.Usage.InputTokensDetails.CacheWriteTokens
	a := decodedAnswer{
		ID: r.ID, Model: r.Model, Tier: string(r.ServiceTier), Text: r.OutputText(),
		Tokens: tokens{r.Usage.InputTokens - cached - written, r.Usage.OutputTokens, cached, written},
		Details: map[string]int64{
			"output_reasoning": r.Usage.OutputTokensDetails.ReasoningTokens,
			"total_tokens":     r.Usage.TotalTokens,
		},
	}
	for _, item := range r.Output {
		switch item := item.AsAny().(type) {
		case responses.ResponseReasoningItem:
			for _, summary := range item.Summary {
				a.Thoughts = append(a.Thoughts, summary.Text)
			}
		case responses.ResponseFunctionToolCall:
			a.Calls = append(a.Calls, call{item.CallID, item.ID, item.Name, item.Arguments})
		case responses.ResponseCustomToolCall:
			a.Calls = append(a.Calls, call{item.CallID, item.ID, item.Name, item.Input})
		}
	}
	return a
}
