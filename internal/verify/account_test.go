package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/rederive"
)

// keptRound returns an exchange of the Messages API, as it was kept.
func keptRound(response string, end kept.End) *kept.Exchange {
	const request = `{"model":"m","stream":true,"messages":[]}`
	end.ResponseBytes = int64(len(response))
	return &kept.Exchange{
		Head:     kept.Head{Format: "messages", Header: http.Header{}, RequestBytes: int64(len(request))},
		Request:  []byte(request),
		Answer:   &kept.Answer{Status: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}},
		Response: []byte(response),
		End:      &end,
	}
}

// recordedOf returns the records of rounds whose answers say nothing.
func recordedOf(errorType string, rounds ...*kept.Exchange) Recorded {
	var answers string
	for _, round := range rounds {
		answers += string(round.Response)
	}
	return Recorded{
		EndedAt: time.Now(), CredentialHint: "sk-a...wxyz",
		Facts:   rederive.Facts{Model: "m", Client: "Unknown", ErrorType: errorType},
		Request: sized(string(rounds[0].Request)), Response: sized(answers),
	}
}

func sized(body string) Body {
	sum, size := sha256.Sum256([]byte(body)), int64(len(body))
	text := hex.EncodeToString(sum[:])
	return Body{&size, &text}
}

// fields returns the fields that differ.
func fields(differences []Difference) string {
	var names []string
	for _, d := range differences {
		names = append(names, d.Field)
	}
	return strings.Join(names, " ")
}

// callOfTool is an answer that calls a tool of the gateway, without its end.
const callOfTool = "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"bmcp_docs_x\",\"input\":{}}}\n\n" +
	"data: {\"type\":\"content_block_stop\",\"index\":0}\n\n" +
	"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}\n\n"

// TestErrorTypes compares each way in which an exchange can end with all error types: each row lists those that agree
// with the bytes, and all others must differ.
func TestErrorTypes(t *testing.T) {
	const (
		some = "data: {\"type\":\"message_start\",\"message\":{}}\n\n"
		stop = some + "data: {\"type\":\"message_stop\"}\n\n"
	)
	silent := keptRound(some, kept.End{Ending: kept.Broken, FailureStatus: 504})
	unanswered := func(end kept.End) *kept.Exchange {
		round := keptRound("", end)
		round.Answer = nil
		return round
	}
	for name, test := range map[string]struct {
		round *kept.Exchange
		may   string
	}{
		"whole":                     {keptRound(stop, kept.End{Ending: kept.Whole}), "-"},
		"whole, no end in it":       {keptRound(some, kept.End{Ending: kept.Whole}), "truncated client_closed"},
		"broken":                    {keptRound(some, kept.End{Ending: kept.Broken, FailureStatus: 502}), "truncated client_closed"},
		"broken behind its end":     {keptRound(stop, kept.End{Ending: kept.Broken, FailureStatus: 502}), "-"},
		"silent":                    {silent, "truncated client_closed"},
		"cancelled by its client":   {keptRound(some, kept.End{Ending: kept.Broken, Cancelled: kept.CancelledByClient, FailureStatus: 502}), "client_closed"},
		"cancelled by the gateway":  {keptRound(some, kept.End{Ending: kept.Broken, Cancelled: kept.CancelledByGateway, FailureStatus: 502}), "truncated client_closed"},
		"left":                      {keptRound(some, kept.End{Ending: kept.Left}), "client_closed truncated server_error overloaded"},
		"left behind its end":       {keptRound(stop, kept.End{Ending: kept.Left}), "-"},
		"no answer":                 {unanswered(kept.End{Ending: kept.Broken, FailureStatus: 502}), "server_error client_closed"},
		"no answer in time":         {unanswered(kept.End{Ending: kept.Broken, FailureStatus: 504}), "timeout client_closed"},
		"no answer, and it is left": {unanswered(kept.End{Ending: kept.Broken, Cancelled: kept.CancelledByClient, FailureStatus: 502}), "client_closed"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, errorType := range []string{
				"", "bad_request", "unauthorized", "rate_limited", "overloaded", "server_error", "timeout", "truncated", "client_closed", "unknown",
			} {
				shown := errorType
				if shown == "" {
					shown = "-"
				}
				want := "error_type"
				for may := range strings.FieldsSeq(test.may) {
					if may == shown {
						want = ""
					}
				}
				a := account{recorded: recordedOf(errorType, test.round), rounds: []*kept.Exchange{test.round}}
				if got := fields(a.differences()); got != want || a.state() != KeptWhole {
					t.Errorf("%q: differences %q, want %q", errorType, got, want)
				}
			}
		})
	}
}

// TestErrorMessages compares recorded error messages with what an upstream said.
func TestErrorMessages(t *testing.T) {
	const refusal = `{"type":"error","error":{"type":"authentication_error","message":"no: sk-a-very-long-key-wxyz"}}`
	round := keptRound(refusal, kept.End{Ending: kept.Whole})
	round.Answer.Status = 401
	round.Answer.Header.Set("Content-Type", "application/json")
	for message, want := range map[string]string{
		"no: sk-a-very-long-key-wxyz": "",
		"no: sk-a...wxyz":             "", // The gateway has replaced the key.
		"":                            "",
		"yes":                         "error_message",
		"no: sk-a...":                 "", // The upstream had masked the rest.
		"no: ...wxyz":                 "",
		"no: Basic [redacted]":        "",
		"no: sk-b...":                 "error_message",
	} {
		recorded := recordedOf("unauthorized", round)
		recorded.Facts.ErrorMessage = message
		a := account{recorded: recorded, rounds: []*kept.Exchange{round}}
		if got := fields(a.differences()); got != want {
			t.Errorf("%q: differences %q, want %q", message, got, want)
		}
	}
}

// TestRedactedTexts checks records in which the gateway redacted a credential, and says so.
func TestRedactedTexts(t *testing.T) {
	const answer = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"a\",\"content\":[]}}\n\n" +
		"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\"}}\n\n" +
		"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"a secret\\\"\"}}\n\n" +
		"data: {\"type\":\"content_block_stop\",\"index\":0}\n\n" +
		"data: {\"type\":\"message_stop\"}\n\n"
	round := keptRound(answer, kept.End{Ending: kept.Whole})
	for redacted, want := range map[bool]string{true: "", false: "tool_usages[0].input"} {
		recorded := recordedOf("", round)
		usage := rederive.ToolUsage{MessageID: "a", CallID: "c", Tool: "f", Input: `"a s...t"`, Metadata: map[string]any{}}
		if redacted {
			usage.Metadata["credential_redacted"] = true
		}
		recorded.Facts.ToolUsages = []rederive.ToolUsage{usage}
		a := account{recorded: recorded, rounds: []*kept.Exchange{round}}
		if got := fields(a.differences()); got != want {
			t.Errorf("redacted: %t: differences %q, want %q", redacted, got, want)
		}
	}
}

// TestRounds checks an interception with several upstream answers.
func TestRounds(t *testing.T) {
	const (
		call = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"a\",\"usage\":{\"input_tokens\":1}}}\n\n" +
			"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"c\",\"name\":\"f\"}}\n\n" +
			"data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":2}}\n\ndata: {\"type\":\"message_stop\"}\n\n"
		text = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"b\",\"usage\":{\"input_tokens\":3}}}\n\n" +
			"data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":4}}\n\ndata: {\"type\":\"message_stop\"}\n\n"
	)
	rounds := []*kept.Exchange{keptRound(call, kept.End{Ending: kept.Whole}), keptRound(text, kept.End{Ending: kept.Whole})}
	recorded := func() Recorded {
		i := recordedOf("", rounds...)
		none := map[string]any{}
		i.Facts.TokenUsages = []rederive.TokenUsage{
			{MessageID: "a", Input: 1, Output: 2, Metadata: map[string]any{"raw": `{"input_tokens":1,"output_tokens":2}`}},
			{MessageID: "b", Input: 3, Output: 4, Metadata: map[string]any{"raw": `{"input_tokens":3,"output_tokens":4}`}},
		}
		i.Facts.ToolUsages = []rederive.ToolUsage{{MessageID: "a", CallID: "c", Tool: "f", Input: "{}", Metadata: none}}
		return i
	}
	for name, test := range map[string]struct {
		change func(*Recorded)
		rounds []*kept.Exchange
		want   string
	}{
		"as it was":                 {func(*Recorded) {}, rounds, ""},
		"one round is missing":      {func(*Recorded) {}, rounds[:1], "response_bytes response_sha256 token_usages"},
		"one was not recorded":      {func(i *Recorded) { i.Facts.TokenUsages = i.Facts.TokenUsages[:1] }, rounds, "token_usages"},
		"the last one has too much": {func(i *Recorded) { i.Facts.TokenUsages[1].Input = 5 }, rounds, "token_usages[1].input_tokens"},
		"fewer bytes were recorded": {func(i *Recorded) { *i.Response.Bytes -= int64(len(text)) - 5 }, rounds, "response_bytes token_usages error_type"},
		"no bytes were recorded":    {func(i *Recorded) { i.Response = Body{} }, rounds, "response_bytes response_sha256"},
		"negative bytes":            {func(i *Recorded) { *i.Response.Bytes = -1 }, rounds, "response_bytes token_usages tool_usages error_type"},
		"some is unreadable":        {func(i *Recorded) { i.Unreadable, i.Facts.Model = errors.New("no JSON"), "other" }, rounds, "metadata"},
		"a prompt of nobody":        {func(i *Recorded) { i.Prompts, i.Facts.Prompt = 1, &rederive.Prompt{Text: "a"} }, rounds, "prompts"},
		"two prompts":               {func(i *Recorded) { i.Prompts, i.Facts.Prompt = 2, &rederive.Prompt{Text: "b"} }, rounds, "prompts prompts"},
	} {
		t.Run(name, func(t *testing.T) {
			i := recorded()
			test.change(&i)
			if got := fields((&account{recorded: i, rounds: test.rounds}).differences()); got != test.want {
				t.Errorf("differences %q, want %q", got, test.want)
			}
		})
	}

	rounds[0].Request = []byte("{}")
	rounds[0].Head.RequestBytes = 2
	if got := fields((&account{recorded: recorded(), rounds: rounds}).differences()); got != "kept exchange" {
		t.Errorf("no request: differences %q", got)
	}
}
