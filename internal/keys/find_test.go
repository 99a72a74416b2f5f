package keys

import (
	"strings"
	"testing"
)

// TestFindings holds what providers answer against what it says of the key.
func TestFindings(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   State
	}{
		"an answer":                     {status: 200},
		"not found":                     {status: 404},
		"forbidden":                     {status: 403, body: `{"error":{"message":"Your credit balance is too low"}}`},
		"overloaded":                    {status: 529},
		"unavailable":                   {status: 503},
		"a bad request":                 {status: 400, body: `{"error":{"type":"invalid_request_error","message":"max_tokens: too large"}}`},
		"unauthorized":                  {status: 401, body: `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}`, want: Unauthorized},
		"unauthorized, no body":         {status: 401, want: Unauthorized},
		"unauthorized, ChatGPT":         {status: 401, body: `{"detail":"Unauthorized"}`, want: Unauthorized},
		"limited":                       {status: 429, body: `{"error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit"}}`, want: Limited},
		"limited, no body":              {status: 429, want: Limited},
		"limited, Google":               {status: 429, body: `[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}]`, want: Limited},
		"no credit, Anthropic":          {status: 400, body: `{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."}}`, want: Dead},
		"disabled, Anthropic":           {status: 400, body: `{"type":"error","error":{"type":"invalid_request_error","message":"This organization has been disabled."}}`, want: Dead},
		"no credit, OpenAI":             {status: 429, body: `{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`, want: Dead},
		"no credit, OpenAI, code alone": {status: 429, body: `{"error":{"message":"x","type":"y","code":"insufficient_quota"}}`, want: Dead},
		"deactivated, OpenAI":           {status: 401, body: `{"error":{"code":"account_deactivated"}}`, want: Dead},
		"no credit, OpenRouter":         {status: 402, body: `{"error":{"message":"Insufficient credits","code":402}}`, want: Dead},
		"no credit, no body":            {status: 402, want: Dead},
		"another's item, Copilot":       {status: 401, body: `{"error":{"message":"input item ID does not belong to this connection"}}`},
		"too large, OpenAI":             {status: 429, body: `{"error":{"message":"Request too large for gpt-x in organization org-1 on tokens per min (TPM): Limit 30000, Requested 51000.","type":"tokens","code":"rate_limit_exceeded"}}`},
		"long context, Anthropic":       {status: 429, body: `{"type":"error","error":{"type":"rate_limit_error","message":"Extra usage is required for long context requests."}}`},

		// A client chooses what an upstream quotes.
		"a quoted text":           {status: 400, body: `{"error":{"message":"Invalid value: 'Your credit balance is too low'. Supported values are: 'low'"}}`},
		"a quoted code":           {status: 429, body: `{"error":{"message":"model \"insufficient_quota\" has too many requests"}}`, want: Limited},
		"a text in another place": {status: 400, body: `{"error":{"message":"bad"},"echo":"this organization has been disabled"}`},
	} {
		if got := find(Answer{Status: c.status, Body: []byte(c.body)}, clock()); got.state != c.want {
			t.Errorf("%s: %q, want %q", name, got.state, c.want)
		}
	}
}

// FuzzFindings checks that no body of a request that is refused for itself kills a key, whatever of the request it quotes
// behind a text of the upstream's own.
func FuzzFindings(f *testing.F) {
	f.Add(400, "Your credit balance is too low")
	f.Add(429, `","code":"insufficient_quota`)
	f.Fuzz(func(t *testing.T, status int, quoted string) {
		body := []byte(`{"error":{"message":"unknown value: ` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(quoted) + `","code":null}}`)
		if got := find(Answer{Status: status, Body: body}, clock()); got.state == Dead && status != 402 {
			t.Errorf("status %d with %s is a dead key", status, body)
		}
		if got := find(Answer{Status: status, Body: []byte(quoted)}, clock()); got.state == Unauthorized && status != 401 || got.state == Limited && status != 429 {
			t.Errorf("status %d is %+v", status, got)
		}
	})
}
