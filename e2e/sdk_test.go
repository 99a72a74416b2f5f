package e2e

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/openai/openai-go/v3"
)

// sdk is a provider's SDK with one of the formats.
type sdk struct {
	name     string
	path     string // The path of its base URL at a gateway.
	provider string
	client   string // As it is recorded.
	agent    string // The beginning of its user agent.
	tier     string // The service tier in fakellm's answers.
	open     func(settings) talk
}

func sdks() []sdk {
	return []sdk{
		{"messages", "/anthropic", "anthropic", "Anthropic SDK (Go)", "Anthropic/Go 2.13.0", "standard", openMessages},
		{"chat", "/openai/v1", "openai", "OpenAI SDK (Go)", "OpenAI/Go 3.96.0", "default", openChat},
		{"responses", "/openai/v1", "openai", "OpenAI SDK (Go)", "OpenAI/Go 3.96.0", "default", openResponses},
	}
}

// settings are the settings of a conversation. Retries are always off, since they would hide failures.
type settings struct {
	base    string // URL.
	key     string // The SDK sends it as its key.
	header  http.Header
	http    *http.Client
	stream  bool
	tools   []string
	onEvent func() // Called after each event of a stream; nil: no calls.
}

// settings returns the usual settings for a user who talks to the gateway.
func (u *user) settings(s sdk, stream bool) settings {
	return settings{base: u.of.url + s.path, key: u.token, http: u.http, stream: stream}
}

// saw calls onEvent, if it is set.
func (s settings) saw() {
	if s.onEvent != nil {
		s.onEvent()
	}
}

// talk is a conversation that an SDK holds. Its methods return the answer as the SDK decoded it, also together with an
// error.
type talk interface {
	// ask sends what a person types, behind the last answer if there is one.
	ask(ctx context.Context, prompt string) (decodedAnswer, error)
	// reply sends the results of all calls of the last answer, in their order.
	reply(ctx context.Context, results ...string) (decodedAnswer, error)
}

// decodedAnswer is an upstream's answer, as an SDK decoded it or as the gateway recorded it.
type decodedAnswer struct {
	ID       string
	Model    string // The model that answered.
	Tier     string
	Text     string `json:",omitempty"` // Not recorded.
	Tokens   tokens
	Details  map[string]int64 // Tokens of other kinds, by their names in records.
	Thoughts []string
	Calls    []call
}

// tokens are counted as the gateway does: Input does not include cached tokens.
type tokens struct{ Input, Output, CacheRead, CacheWrite int64 }

type call struct {
	ID     string
	ItemID string // Only Responses has it.
	Tool   string
	Input  string
}

// refusal is an error status as an SDK shows it.
type refusal struct {
	status     int
	retryAfter string
	message    string
}

// refused returns the error status that an SDK reports. It fails the test if err is something else.
func refused(t *testing.T, err error) refusal {
	t.Helper()
	if e, ok := errors.AsType[*anthropic.Error](err); ok {
		return refusal{e.StatusCode, e.Response.Header.Get("Retry-After"), e.Message}
	}
	if e, ok := errors.AsType[*openai.Error](err); ok {
		return refusal{e.StatusCode, e.Response.Header.Get("Retry-After"), e.Message}
	}
	t.Fatalf("the SDK reports %v, not a status", err)
	return refusal{}
}

// answer returns the recorded answer of an interception with one upstream answer, with those details that want has.
func (i interception) answer(t *testing.T, want decodedAnswer) decodedAnswer {
	t.Helper()
	if len(i.TokenUsages) != 1 {
		t.Fatalf("one answer left %d token usages:\n%s", len(i.TokenUsages), indented(i))
	}
	usage := i.TokenUsages[0]
	got := decodedAnswer{
		ID:      usage.MsgID,
		Tokens:  tokens{usage.InputTokens, usage.OutputTokens, usage.CacheReadInputTokens, usage.CacheWriteInputTokens},
		Details: map[string]int64{},
	}
	got.Model, _ = usage.Metadata["model"].(string)
	got.Tier, _ = usage.Metadata["service_tier"].(string)
	for kind := range want.Details {
		count, ok := usage.Metadata[kind].(float64)
		if !ok {
			t.Errorf("token usage has no %s: %v", kind, usage.Metadata)
		}
		got.Details[kind] = int64(count)
	}
	for _, flag := range []string{"partial", "inconsistent"} {
		if usage.Metadata[flag] != nil {
			t.Errorf("token usage is marked %s: %v", flag, usage.Metadata)
		}
	}
	for _, thought := range i.ModelThoughts {
		got.Thoughts = append(got.Thoughts, thought.Content)
	}
	for _, usage := range i.ToolUsages {
		if usage.Injected || usage.ServerURL != nil || usage.InvocationError != nil || usage.MsgID != got.ID {
			t.Errorf("a call of the client's own tool is recorded as %s", indented(usage))
		}
		got.Calls = append(got.Calls, call{usage.ToolCallID, usage.ItemID, usage.Tool, usage.Input})
	}
	return got
}
