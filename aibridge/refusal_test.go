package aibridge

import (
	"net/http"
	"strings"
	"testing"
)

// TestRefusalsSayWho checks that the line about each request that is refused says from where it came and whose it is.
func TestRefusalsSayWho(t *testing.T) {
	for name, c := range map[string]struct {
		options      ProviderOptions
		target, body string
		header       []string
	}{
		"no such provider":        {ProviderOptions{}, "POST /nobody/v1/messages", messagesBody, nil},
		"no such route":           {ProviderOptions{}, "POST /openai/v1/batches", "{}", nil},
		"a path":                  {ProviderOptions{}, "POST /openai/v1/..;/batches", "{}", nil},
		"a method":                {ProviderOptions{}, "TRACE /openai/v1/models", "", nil},
		"disabled":                {ProviderOptions{Disabled: true}, "POST /openai/v1/responses", responsesBody, nil},
		"no JSON":                 {ProviderOptions{Key: keyA}, "POST /openai/v1/responses", "{", nil},
		"a coding":                {ProviderOptions{Key: keyA}, "POST /openai/v1/responses", "{", []string{"Content-Encoding", "odd"}},
		"too large":               {ProviderOptions{Key: keyA, Limits: Limits{RequestBody: 3}}, "POST /openai/v1/responses", responsesBody, nil},
		"no key":                  {ProviderOptions{}, "POST /openai/v1/responses", responsesBody, nil},
		"passed through, no key":  {ProviderOptions{}, "GET /openai/v1/models", "", nil},
		"passed through, a large": {ProviderOptions{Key: keyA, Limits: Limits{RequestBody: 3}}, "POST /anthropic/v1/messages/count_tokens", messagesBody, nil},
	} {
		b := newResilient(t, c.options, nil)
		b.send(c.target, c.body, c.header...)
		log := b.log.String()
		if strings.Count(log, "\n") != 1 || !strings.Contains(log, "request refused") || !strings.Contains(log, "remote=192.0.2.1:1234") || !strings.Contains(log, "initiator_id=ada") {
			t.Errorf("%s: logged %s", name, log)
		}
	}
}

// TestShapesOfRefusals checks that a refusal has the shape of the API that its path is of, whether the provider has a route
// there or not, is disabled or has no key.
func TestShapesOfRefusals(t *testing.T) {
	const native, ofMessages, ofOpenAI = `{"__type":"`, `{"type":"error","error":{`, `{"error":{"message":`
	limited := func(string, *http.Request) said { return said{status: 429} }
	for _, disabled := range []bool{false, true} {
		b := newResilient(t, ProviderOptions{}, limited)
		options := ProviderOptions{BaseURL: "https://upstream.example", Transport: b.up, Disabled: disabled}
		bedrock, err := NewBedrockProvider("bedrock", options)
		if err != nil {
			t.Fatal(err)
		}
		copilot, err := NewCopilotProvider("copilot", options)
		if err != nil {
			t.Fatal(err)
		}
		options.Keys = ofTwoAccounts()
		resting, err := NewBedrockProvider("resting", options)
		if err != nil {
			t.Fatal(err)
		}
		set, err := NewProviderSet(bedrock, copilot, resting)
		if err != nil {
			t.Fatal(err)
		}
		b.RequestBridge = NewRequestBridge(set, &b.ends, BridgeOptions{})
		for target, want := range map[string]string{
			"POST /bedrock/model/m/invoke": native, "POST /bedrock/model/m/invoke-with-response-stream": native, "POST /bedrock/model/a%25b/invoke": native,
			"POST /bedrock/model/m/converse": native, "GET /bedrock/model/m/invoke": native, "POST /bedrock/model/m/count-tokens": native,
			"POST /resting/model/m/count-tokens": native, "GET /bedrock/inference-profiles": native, "GET /bedrock/inference-profiles/p": native,
			"PUT /bedrock/model/x": native, "POST /bedrock/v1/messages": ofMessages, "GET /bedrock/v1/models": ofMessages, "POST /bedrock/v1/messages/count_tokens": ofMessages,
			"POST /copilot/v1/messages": ofMessages, "GET /copilot/v1/messages": ofMessages, "POST /copilot/chat/completions": ofOpenAI, "GET /copilot/models": ofOpenAI,
			"POST /nobody/model/m/converse": native, "POST /nobody/model/m/count-tokens": native,
		} {
			w := b.send(target, `{"messages":[]}`)
			if w.Code < 400 || !strings.HasPrefix(w.Body.String(), want) {
				t.Errorf("%s, disabled %t: %d %s, want %s", target, disabled, w.Code, w.Body, want)
			}
		}
	}
}
