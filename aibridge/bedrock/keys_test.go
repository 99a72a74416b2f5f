package bedrock_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/bedrock"
	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/testkit"
)

// TestExceptionsOfKeys checks that an exception in the place of the first event counts for its key and its upstream as an error
// with that status does, for clients of both APIs: a throttled key rests, and the next one serves the request. The frames of
// the only key reach a client of Bedrock byte for byte.
func TestExceptionsOfKeys(t *testing.T) {
	const first, second = "bedrock-api-key-of-account-one", "bedrock-api-key-of-account-two"
	events := fakebedrock.Events(hello()...)
	for _, route := range []struct{ path, body, want string }{
		{"/v1/messages", ask, helloSSE()}, {"/model/m/invoke-with-response-stream", invokeBody, string(fakebedrock.Encode(events...))},
	} {
		for _, skipped := range [][]fakebedrock.Frame{nil, {{Other: "initial-response"}}} {
			throttled := append(skipped[:len(skipped):len(skipped)], fakebedrock.Frame{Exception: "throttlingException", Message: "Too many requests"})
			var asked []string
			options := answering(fakebedrock.Answer{})
			options.APIKeys = []string{first, second}
			options.Answer = func(r fakebedrock.Request) fakebedrock.Answer {
				key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				asked = append(asked, key)
				if key == first {
					return fakebedrock.Answer{Frames: throttled}
				}
				return fakebedrock.Answer{Frames: events}
			}
			fake := fakebedrock.New(t, options)
			g := newGateway(t, fake.URL, bedrock.Options{Provider: aibridge.ProviderOptions{Keys: []aibridge.Key{{Secret: first}, {Secret: second}}}})
			for range 3 {
				if got := post(t, g, "/bedrock"+route.path, route.body); got.status != http.StatusOK || got.body != route.want || got.err != nil {
					t.Fatalf("%s: %d, %d bytes, %v", route.path, got.status, len(got.body), got.err)
				}
			}
			if got := strings.Join(asked, " "); got != first+" "+second+" "+second+" "+second {
				t.Errorf("%s: asked with %s", route.path, got)
			}
			alone := newGateway(t, fake.URL, bedrock.Options{Provider: aibridge.ProviderOptions{Key: first}})
			if got := post(t, alone, "/bedrock/model/m/invoke-with-response-stream", invokeBody); got.status != http.StatusOK || got.body != string(fakebedrock.Encode(throttled...)) {
				t.Errorf("the only key: %d, %d bytes", got.status, len(got.body))
			}
			post(t, alone, "/bedrock"+route.path, route.body) // Of another model, perhaps.
			if got := post(t, alone, "/bedrock"+route.path, route.body); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
				t.Errorf("the only key rests: %d", got.status)
			}
		}
	}
}

// TestExceptionsOfTheBreaker checks that exceptions in the place of the first event open the breaker if they say that the upstream
// fails, and that requests which the gateway itself refuses to send do not.
func TestExceptionsOfTheBreaker(t *testing.T) {
	for name, opens := range map[string]bool{"serviceUnavailableException": true, "internalServerException": true, "validationException": false} {
		fake := fakebedrock.New(t, answering(fakebedrock.Answer{Frames: []fakebedrock.Frame{{Exception: name, Message: "m"}}}))
		for _, route := range []struct{ path, body string }{{"/v1/messages", ask}, {"/model/m/invoke-with-response-stream", invokeBody}} {
			g := newGateway(t, fake.URL, bedrock.Options{Credentials: static(), Provider: aibridge.ProviderOptions{Breaker: aibridge.BreakerOptions{Failures: 3}}})
			for range 3 {
				post(t, g, "/bedrock"+route.path, route.body)
			}
			if got := post(t, g, "/bedrock"+route.path, route.body); (got.header.Get("Retry-After") != "") != opens {
				t.Errorf("%s, %s: %d %v", name, route.path, got.status, got.header)
			}
		}
	}
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: static(), Provider: aibridge.ProviderOptions{Breaker: aibridge.BreakerOptions{Failures: 1}}})
	for range 5 {
		r := g.Request(t, http.MethodPost, "/bedrock/model/m/invoke", invokeBody)
		r.Header.Set("X-Coder-AI-Governance-Token", testkit.Token)
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x")
		if got := do(t, r); got.status != http.StatusForbidden {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if got := post(t, g, "/bedrock/model/m/invoke", invokeBody); got.status != http.StatusOK {
		t.Errorf("signatures of one client have opened the breaker for all: %d %s", got.status, got.body)
	}
}
