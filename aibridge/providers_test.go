package aibridge

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// written is an upstream that keeps what it is sent, as text.
type written struct{ text string }

func (u *written) RoundTrip(r *http.Request) (*http.Response, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s\n", r.Method, r.URL)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			fmt.Fprintf(&text, "%s: %s\n", name, value)
		}
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if len(body) > 0 {
			fmt.Fprintf(&text, "\n%s\n", body)
		}
	}
	u.text += text.String()
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader("{}")), ContentLength: 2,
	}, nil
}

// ask sends one request to a provider named "p" and returns what its upstream was sent. The request is text, like what it
// returns, and may begin with headers.
func ask(t *testing.T, provider Provider, up *written, request string) string {
	t.Helper()
	set, err := NewProviderSet(provider)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(request, "\n\n")
	first, headers, _ := strings.Cut(head, "\n")
	method, target, _ := strings.Cut(first, " ")
	r := httptest.NewRequest(method, "/p"+target, strings.NewReader(body))
	for line := range strings.Lines(headers) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		r.Header.Add(name, value)
	}
	up.text = ""
	w := httptest.NewRecorder()
	actor := Actor{ID: "0f1e", Metadata: Metadata{"Username": "ada", "Full Name": "x", "Team": "Käse\n", "Age": 3}}
	NewRequestBridge(set, noRecords{}, BridgeOptions{}).ServeHTTP(w, r.WithContext(AsActor(r.Context(), actor)))
	if up.text == "" {
		return fmt.Sprint(w.Code, " ", strings.TrimSpace(w.Body.String()))
	}
	return up.text
}

// sentAs returns what an upstream gets: the target, headers in their order, and a body.
func sentAs(first string, rest ...string) string {
	return strings.Join(append([]string{first}, rest...), "\n") + "\n"
}

// chatBody and messagesBody are the smallest requests of their formats.
const (
	chatBody      = `{"model":"gpt-x","messages":[{"role":"user","content":"Hi"}]}`
	messagesBody  = `{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`
	responsesBody = `{"model":"gpt-x","input":"Hi"}`
)

// TestWhatGoesUpstream holds what reaches the upstream of each type of provider against the whole of what must: target,
// headers and body, for its own routes, with the provider's key and with a caller's own.
func TestWhatGoesUpstream(t *testing.T) {
	const agent = "User-Agent: "
	type made struct {
		provider Provider
		err      error
	}
	of := func(provider Provider, err error) made { return made{provider, err} }
	up := &written{}
	options := ProviderOptions{Key: "key-1", Transport: up}
	at := func(base string) ProviderOptions { return ProviderOptions{BaseURL: base, Key: "key-1", Transport: up} }
	classic := AzureOptions{ProviderOptions: at("https://r.openai.azure.com"), APIVersion: "2024-10-21", Deployments: map[string]string{"gpt-x": "my gpt"}}
	preview := AzureOptions{ProviderOptions: at("https://r.openai.azure.com/"), APIVersion: "preview"}
	bearer := "Authorization: Bearer key-1"
	copilot := []string{bearer, "Copilot-Integration-Id: vscode-chat", "Editor-Version: aibridged/1.0", agent}
	images := strings.Replace(chatBody, `"Hi"`, `[{"type": "image_url","image_url":{"url":"data:"}}]`, 1)
	result := strings.Replace(messagesBody, `"Hi"`, `[{"type":"tool_result","tool_use_id":"t","content":[{"type":"image","source":{}}]}]`, 1)

	for name, c := range map[string]struct {
		made    made
		request string
		want    string
	}{
		"anthropic, messages":     {of(NewAnthropicProvider("p", options)), "POST /v1/messages?beta=true\nAnthropic-Beta: a,b\n\n" + messagesBody, sentAs("POST https://api.anthropic.com/v1/messages?beta=true", "Anthropic-Beta: a,b", agent, "X-Api-Key: key-1", "", messagesBody)},
		"anthropic, own key":      {of(NewAnthropicProvider("p", options)), "POST /v1/messages\nAuthorization: Bearer own\n\n" + messagesBody, sentAs("POST https://api.anthropic.com/v1/messages", "Authorization: Bearer own", agent, "", messagesBody)},
		"anthropic, OAuth token":  {of(NewAnthropicProvider("p", ProviderOptions{Key: "sk-ant-oat01-x", Transport: up})), "GET /v1/models?limit=3", sentAs("GET https://api.anthropic.com/v1/models?limit=3", "Authorization: Bearer sk-ant-oat01-x", agent)},
		"anthropic, count_tokens": {of(NewAnthropicProvider("p", at("https://up/base/"))), "POST /v1/messages/count_tokens?beta=true\n\n" + messagesBody, sentAs("POST https://up/base/v1/messages/count_tokens?beta=true", agent, "X-Api-Key: key-1", "", messagesBody)},
		"anthropic, a model":      {of(NewAnthropicProvider("p", options)), "GET /v1/models/claude%2Fx", sentAs("GET https://api.anthropic.com/v1/models/claude%2Fx", agent, "X-Api-Key: key-1")},
		"anthropic, events":       {of(NewAnthropicProvider("p", options)), "POST /api/event_logging/batch\n\n{}", sentAs("POST https://api.anthropic.com/api/event_logging/batch", agent, "X-Api-Key: key-1", "", "{}")},

		"openai, chat":         {of(NewOpenAIProvider("p", options)), "POST /v1/chat/completions\n\n" + chatBody, sentAs("POST https://api.openai.com/v1/chat/completions", bearer, agent, "", chatBody)},
		"openai, responses":    {of(NewOpenAIProvider("p", options)), "POST /v1/responses?x=%20y\n\n" + responsesBody, sentAs("POST https://api.openai.com/v1/responses?x=%20y", bearer, agent, "", responsesBody)},
		"openai, own key":      {of(NewOpenAIProvider("p", options)), "POST /v1/responses\nAuthorization: Bearer own\nOpenai-Organization: org\n\n" + responsesBody, sentAs("POST https://api.openai.com/v1/responses", "Authorization: Bearer own", "Openai-Organization: org", agent, "", responsesBody)},
		"openai, organisation": {of(NewOpenAIProvider("p", options)), "POST /v1/responses\nOpenai-Organization: org\nOpenai-Beta: b\n\n" + responsesBody, sentAs("POST https://api.openai.com/v1/responses", bearer, "Openai-Beta: b", agent, "", responsesBody)},
		"openai, models":       {of(NewOpenAIProvider("p", at("https://up/base/v1"))), "GET /v1/models/a%2Fb", sentAs("GET https://up/base/v1/models/a%2Fb", bearer, agent)},
		"openai, a response":   {of(NewOpenAIProvider("p", options)), "DELETE /v1/responses/resp_1", sentAs("DELETE https://api.openai.com/v1/responses/resp_1", bearer, agent)},
		"openai, conversation": {of(NewOpenAIProvider("p", options)), "POST /v1/conversations\n\n{}", sentAs("POST https://api.openai.com/v1/conversations", bearer, agent, "", "{}")},

		"google":        {of(NewGoogleProvider("p", options)), "POST /v1/chat/completions\n\n" + chatBody, sentAs("POST https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", bearer, agent, "", chatBody)},
		"openrouter":    {of(NewOpenRouterProvider("p", options)), "POST /v1/chat/completions\nX-Title: t\n\n" + chatBody, sentAs("POST https://openrouter.ai/api/v1/chat/completions", bearer, agent, "X-Title: t", "", chatBody)},
		"vercel":        {of(NewVercelProvider("p", options)), "GET /v1/models", sentAs("GET https://ai-gateway.vercel.sh/v1/models", bearer, agent)},
		"openai-compat": {of(NewOpenAICompatibleProvider("p", at("http://127.0.0.1:8000/v1"))), "POST /v1/embeddings\n\n{\"model\":\"e\",\"input\":\"x\"}", sentAs("POST http://127.0.0.1:8000/v1/embeddings", bearer, agent, "", `{"model":"e","input":"x"}`)},
		"chatgpt":       {of(NewChatGPTProvider("p", ProviderOptions{Keys: []Key{{Secret: "key-1", Account: "acc-1"}}, Transport: up})), "POST /v1/responses\nChatgpt-Account-Id: of-another\n\n" + responsesBody, sentAs("POST https://chatgpt.com/backend-api/codex/responses", bearer, "Chatgpt-Account-Id: acc-1", agent, "", responsesBody)},
		"chatgpt, own":  {of(NewChatGPTProvider("p", options)), "POST /v1/responses\nAuthorization: Bearer own\nChatgpt-Account-Id: mine\n\n" + responsesBody, sentAs("POST https://chatgpt.com/backend-api/codex/responses", "Authorization: Bearer own", "Chatgpt-Account-Id: mine", agent, "", responsesBody)},

		"copilot, chat":         {of(NewCopilotProvider("p", options)), "POST /chat/completions\n\n" + chatBody, sentAs("POST https://api.individual.githubcopilot.com/chat/completions", append(copilot, "", chatBody)...)},
		"copilot, responses":    {of(NewCopilotProvider("p", options)), "POST /responses\n\n" + responsesBody, sentAs("POST https://api.individual.githubcopilot.com/responses", append(copilot, "", responsesBody)...)},
		"copilot, messages":     {of(NewCopilotProvider("p", options)), "POST /v1/messages\n\n" + messagesBody, sentAs("POST https://api.individual.githubcopilot.com/v1/messages", append(copilot, "", messagesBody)...)},
		"copilot, its client":   {of(NewCopilotProvider("p", options)), "POST /chat/completions\nCopilot-Integration-Id: cli\nEditor-Version: e/1\nX-Initiator: user\nUser-Agent: c/1\n\n" + chatBody, sentAs("POST https://api.individual.githubcopilot.com/chat/completions", bearer, "Copilot-Integration-Id: cli", "Editor-Version: e/1", "User-Agent: c/1", "X-Initiator: user", "", chatBody)},
		"copilot, images":       {of(NewCopilotProvider("p", options)), "POST /chat/completions\n\n" + images, sentAs("POST https://api.individual.githubcopilot.com/chat/completions", bearer, "Copilot-Integration-Id: vscode-chat", "Copilot-Vision-Request: true", "Editor-Version: aibridged/1.0", agent, "", images)},
		"copilot, image result": {of(NewCopilotProvider("p", options)), "POST /v1/messages\n\n" + result, sentAs("POST https://api.individual.githubcopilot.com/v1/messages", bearer, "Copilot-Integration-Id: vscode-chat", "Copilot-Vision-Request: true", "Editor-Version: aibridged/1.0", agent, "", result)},
		"copilot, models":       {of(NewCopilotProvider("p", options)), "GET /models", sentAs("GET https://api.individual.githubcopilot.com/models", copilot...)},
		"copilot, agents":       {of(NewCopilotProvider("p", options)), "POST /agents/swe/x\n\n{}", sentAs("POST https://api.individual.githubcopilot.com/agents/swe/x", append(copilot, "", "{}")...)},
		"copilot, MCP":          {of(NewCopilotProvider("p", options)), "DELETE /mcp/readonly", sentAs("DELETE https://api.individual.githubcopilot.com/mcp/readonly", copilot...)},
		"copilot, well known":   {of(NewCopilotProvider("p", options)), "GET /.well-known/x", sentAs("GET https://api.individual.githubcopilot.com/.well-known/x", copilot...)},

		"azure, chat":                   {of(NewAzureProvider("p", AzureOptions{ProviderOptions: at("https://r.openai.azure.com")})), "POST /v1/chat/completions\n\n" + chatBody, sentAs("POST https://r.openai.azure.com/openai/v1/chat/completions", "Api-Key: key-1", agent, "", chatBody)},
		"azure, Entra":                  {of(NewAzureProvider("p", AzureOptions{ProviderOptions: ProviderOptions{BaseURL: "https://r.openai.azure.com", Key: "eyJ.a.b", Transport: up}})), "GET /v1/models", sentAs("GET https://r.openai.azure.com/openai/v1/models", "Authorization: Bearer eyJ.a.b", agent)},
		"azure, own key":                {of(NewAzureProvider("p", AzureOptions{ProviderOptions: at("https://r.openai.azure.com")})), "POST /v1/chat/completions\nApi-Key: own\n\n" + chatBody, sentAs("POST https://r.openai.azure.com/openai/v1/chat/completions", "Api-Key: own", agent, "", chatBody)},
		"azure, preview":                {of(NewAzureProvider("p", preview)), "POST /v1/responses?a=b\n\n" + responsesBody, sentAs("POST https://r.openai.azure.com/openai/v1/responses?a=b&api-version=preview", "Api-Key: key-1", agent, "", responsesBody)},
		"azure, its v1 paths":           {of(NewAzureProvider("p", preview)), "POST /openai/v1/responses?api-version=latest\n\n" + responsesBody, sentAs("POST https://r.openai.azure.com/openai/v1/responses?api-version=latest", "Api-Key: key-1", agent, "", responsesBody)},
		"azure, its classic paths":      {of(NewAzureProvider("p", preview)), "POST /openai/deployments/d-1/chat/completions?api-version=2024-06-01\n\n" + chatBody, sentAs("POST https://r.openai.azure.com/openai/deployments/d-1/chat/completions?api-version=2024-06-01", "Api-Key: key-1", agent, "", chatBody)},
		"azure classic, chat":           {of(NewAzureProvider("p", classic)), "POST /v1/chat/completions\n\n" + chatBody, sentAs("POST https://r.openai.azure.com/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21", "Api-Key: key-1", agent, "", chatBody)},
		"azure classic, another model":  {of(NewAzureProvider("p", classic)), "POST /v1/embeddings?api-version=2025-01-01\n\n{\"model\":\"e\",\"input\":\"x\"}", sentAs("POST https://r.openai.azure.com/openai/deployments/e/embeddings?api-version=2025-01-01", "Api-Key: key-1", agent, "", `{"model":"e","input":"x"}`)},
		"azure classic, responses":      {of(NewAzureProvider("p", classic)), "POST /v1/responses\n\n" + responsesBody, sentAs("POST https://r.openai.azure.com/openai/responses?api-version=2024-10-21", "Api-Key: key-1", agent, "", responsesBody)},
		"azure classic, a response":     {of(NewAzureProvider("p", classic)), "GET /v1/responses/resp_1?stream=true", sentAs("GET https://r.openai.azure.com/openai/responses/resp_1?stream=true&api-version=2024-10-21", "Api-Key: key-1", agent)},
		"azure classic, its paths":      {of(NewAzureProvider("p", classic)), "POST /openai/deployments/gpt-x/embeddings\n\n{\"model\":\"e\",\"input\":\"x\"}", sentAs("POST https://r.openai.azure.com/openai/deployments/gpt-x/embeddings?api-version=2024-10-21", "Api-Key: key-1", agent, "", `{"model":"e","input":"x"}`)},
		"azure classic, v1 paths":       {of(NewAzureProvider("p", classic)), "POST /openai/v1/responses\n\n" + responsesBody, sentAs("POST https://r.openai.azure.com/openai/v1/responses", "Api-Key: key-1", agent, "", responsesBody)},
		"azure classic, a path, no":     {of(NewAzureProvider("p", classic)), "POST /v1/chat/completions\n\n" + strings.Replace(chatBody, "gpt-x", "../other", 1), `400 {"error":{"message":"the model names no deployment","type":"invalid_request_error","param":null,"code":null}}`},
		"azure classic, dots, no":       {of(NewAzureProvider("p", classic)), "POST /v1/chat/completions\n\n" + strings.Replace(chatBody, "gpt-x", "..", 1), `400 {"error":{"message":"the model names no deployment","type":"invalid_request_error","param":null,"code":null}}`},
		"azure classic, a parameter,no": {of(NewAzureProvider("p", classic)), "POST /v1/chat/completions\n\n" + strings.Replace(chatBody, "gpt-x", "a?b#c", 1), sentAs("POST https://r.openai.azure.com/openai/deployments/a%3Fb%23c/chat/completions?api-version=2024-10-21", "Api-Key: key-1", agent, "", strings.Replace(chatBody, "gpt-x", "a?b#c", 1))},
	} {
		if c.made.err != nil {
			t.Errorf("%s: %v", name, c.made.err)
			continue
		}
		if got := ask(t, c.made.provider, up, c.request); got != c.want {
			t.Errorf("%s: sent\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// TestHeadersOfOperators checks that headers of the configuration go upstream in the place of the client's, on all
// routes, that actor headers do so only if they are switched on, and that a client can send neither.
func TestHeadersOfOperators(t *testing.T) {
	up := &written{}
	plain := ProviderOptions{BaseURL: "http://up/v1", Key: "key-1", Transport: up}
	with := plain
	with.Headers = map[string]string{"http-referer": "https://example.com", "X-Team": "a team"}
	with.ActorHeaders = true
	const spoofed = "Connection: X-Ai-Bridge-Actor-Id, Http-Referer, Authorization\nX-Ai-Bridge-Actor-Id: root\nX_Ai_Bridge_Actor_Id: root\nX-Ai-Bridge-Actor-Metadata-Username: root\nx-ai-bridge-actor-metadata-role: admin\nHttp-Referer: https://evil\nX-Team: own"
	for _, request := range []string{"GET /v1/models\n" + spoofed, "POST /v1/chat/completions\n" + spoofed + "\n\n" + chatBody} {
		first, body, _ := strings.Cut(request, "\n\n")
		target := strings.Replace(first[:strings.Index(first, "\n")], "/v1", "http://up/v1", 1)
		tail := []string{}
		if body != "" {
			tail = []string{"", body}
		}
		for _, c := range []struct {
			options ProviderOptions
			want    []string
		}{
			{plain, []string{"Authorization: Bearer key-1", "User-Agent: ", "X-Team: own"}},
			{with, []string{
				"Authorization: Bearer key-1", "Http-Referer: https://example.com", "User-Agent: ", "X-Ai-Bridge-Actor-Id: 0f1e",
				"X-Ai-Bridge-Actor-Metadata-Team: K%C3%A4se%0A", "X-Ai-Bridge-Actor-Metadata-Username: ada", "X-Team: a team",
			}},
		} {
			provider, err := NewOpenAIProvider("p", c.options)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := ask(t, provider, up, request), sentAs(target, append(c.want, tail...)...); got != want {
				t.Errorf("sent\n%s\nwant\n%s", got, want)
			}
		}
	}
}

// TestLaterRoundsAreTheAgents checks that Copilot is told that nobody typed what the gateway sends by itself.
func TestLaterRoundsAreTheAgents(t *testing.T) {
	header := http.Header{"X-Initiator": {"user"}}
	completeForCopilot(header, sentRequest{round: 1})
	if header.Get("X-Initiator") != "agent" {
		t.Error(header)
	}
}

// TestImages checks what counts as an image.
func TestImages(t *testing.T) {
	for body, want := range map[string]bool{
		`{"type":"input_image"}`:              true,
		"{\"type\" :\n\"image\"}":             true,
		`{"text":"{\"type\":\"image\"}"}`:     false,
		`{"properties":{"image":{"type":1}}}`: false,
		`{}`:                                  false,
	} {
		if hasImages([]byte(body)) != want {
			t.Errorf("%s: want %t", body, want)
		}
	}
}

// TestProvidersThatCannotBe checks what constructors refuse, and that their errors repeat no secret.
func TestProvidersThatCannotBe(t *testing.T) {
	const canary = "canary-0123456789"
	headers := func(headers map[string]string) error {
		_, err := NewOpenAIProvider("p", ProviderOptions{Headers: headers})
		return err
	}
	azure := func(options AzureOptions) error {
		options.BaseURL = "https://r.openai.azure.com"
		_, err := NewAzureProvider("p", options)
		return err
	}
	keys := func(keys ...Key) error {
		_, err := NewOpenAIProvider("p", ProviderOptions{Key: "key", Keys: keys})
		return err
	}
	_, noAddress := NewOpenAICompatibleProvider("p", ProviderOptions{})
	_, noResource := NewAzureProvider("p", AzureOptions{})
	for text, err := range map[string]error{
		`base URL: type openai-compat has no address of its own`: noAddress,
		`base URL: type azure has no address of its own`:         noResource,
		`headers: "Authorization" cannot be set`:                 headers(map[string]string{"Authorization": canary}),
		`headers: "x-api-key" cannot be set`:                     headers(map[string]string{"x-api-key": canary}),
		`headers: "Host" cannot be set`:                          headers(map[string]string{"Host": canary}),
		`headers: "Connection" cannot be set`:                    headers(map[string]string{"Connection": canary}),
		`headers: "Content-Length" cannot be set`:                headers(map[string]string{"Content-Length": canary}),
		`headers: "X-AI-Bridge-Actor-ID" cannot be set`:          headers(map[string]string{"X-AI-Bridge-Actor-ID": canary}),
		`headers: "X Team" cannot be set`:                        headers(map[string]string{"X Team": canary}),
		`headers: "" cannot be set`:                              headers(map[string]string{"": canary}),
		`the value of "X-Team" has a line break`:                 headers(map[string]string{"X-Team": canary + "\r\nX: y"}),
		`keys: key 3 is empty`:                                   keys(Key{Secret: "a"}, Key{Account: "x"}),
		`keys: key 2 or its account has a line`:                  keys(Key{Secret: canary + "\n"}),
		`keys: key 2 or its account has a line `:                 keys(Key{Secret: canary, Account: "a\r\nb"}),
		`api version "2024"`:                                     azure(AzureOptions{APIVersion: "2024"}),
		`api version "2024-10-21&x=y"`:                           azure(AzureOptions{APIVersion: "2024-10-21&x=y"}),
		`deployment "a/b" of model "m" cannot be`:                azure(AzureOptions{Deployments: map[string]string{"m": "a/b"}}),
	} {
		if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), canary) {
			t.Errorf("%v, want %s", err, text)
		}
	}
}
