package aibridge_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/fakellm"
)

// printer is a recorder that prints what it is given.
type printer struct{}

func (printer) Record(_ context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	for _, record := range records {
		switch r := record.(type) {
		case *aibridge.InterceptionStart:
			fmt.Println("start:", r.InitiatorID, "asks", r.Model, "at", r.ProviderName)
		case *aibridge.PromptUsage:
			fmt.Println("prompt:", r.Prompt)
		case *aibridge.TokenUsage:
			fmt.Println("tokens:", r.InputTokens, "in,", r.OutputTokens, "out")
		case *aibridge.ToolUsage:
			fmt.Println("call:", r.Tool, r.Input)
		case *aibridge.ModelThought:
			fmt.Println("thought:", r.Content)
		case *aibridge.InterceptionEnd:
			fmt.Printf("end: %q\n", r.ErrorType)
		}
	}
	return nil, nil // A nil commit: what is printed counts as safe.
}

// A bridge can be mounted without the rest of the gateway. The host then says who sends a request.
func ExampleRequestBridge() {
	upstream := httptest.NewServer(fakellm.New(fakellm.Options{})) // In place of https://api.anthropic.com.
	defer upstream.Close()
	provider, err := aibridge.NewAnthropicProvider("anthropic", aibridge.ProviderOptions{BaseURL: upstream.URL, Key: "the provider's key"})
	if err != nil {
		fmt.Println(err)
		return
	}
	providers, err := aibridge.NewProviderSet(provider)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer providers.CloseIdleConnections()
	bridge := aibridge.NewRequestBridge(providers, printer{}, aibridge.BridgeOptions{})

	body := `{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"Hello [[think: hm]] [[usage: input=7 output=5]]"}]}`
	request := httptest.NewRequest(http.MethodPost, "/anthropic/v1/messages", strings.NewReader(body))
	answer := httptest.NewRecorder()
	bridge.ServeHTTP(answer, request.WithContext(aibridge.AsActor(request.Context(), aibridge.Actor{ID: "ada"})))
	fmt.Println(answer.Code)
	// Output:
	// start: ada asks claude-x at anthropic
	// prompt: Hello [[think: hm]] [[usage: input=7 output=5]]
	// tokens: 7 in, 5 out
	// thought: hm
	// end: ""
	// 200
}

// A provider's name is a segment of a path. The constructor refuses a name that cannot be one.
func ExampleNewOpenAIProvider() {
	provider, err := aibridge.NewOpenAIProvider("local-models", aibridge.ProviderOptions{BaseURL: "http://127.0.0.1:8000/v1"})
	fmt.Println(provider.Name(), provider.Type(), provider.HasKey(), err)
	_, err = aibridge.NewOpenAIProvider("Local Models", aibridge.ProviderOptions{})
	fmt.Println(err)
	// Output:
	// local-models openai false <nil>
	// provider name "Local Models": use lower-case letters and digits, in words joined by single hyphens
}
