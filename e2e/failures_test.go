package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// refusals returns the statuses with which an upstream can refuse, and how they are recorded.
func refusals() []struct {
	status int
	kind   string
} {
	return []struct {
		status int
		kind   string
	}{
		{400, "bad_request"},
		{401, "unauthorized"},
		{403, "unauthorized"},
		{404, "bad_request"},
		{408, "timeout"},
		{413, "bad_request"},
		{429, "rate_limited"},
		{500, "server_error"},
		{503, "overloaded"},
		{504, "timeout"},
		{529, "overloaded"},
	}
}

// TestUpstreamRefusals has the upstream refuse requests: the SDK sees the status, the message and the time to retry
// after.
func TestUpstreamRefusals(t *testing.T) {
	for _, sdk := range sdks() {
		for _, stream := range []bool{false, true} {
			t.Run(sdk.name+"/"+transfer(stream), func(t *testing.T) {
				t.Parallel()
				u := newUser(t)
				settings := u.settings(sdk, stream)
				// A key of the gateway would rest after some of these, and all tests share it.
				settings.key, settings.header = ownKey, http.Header{governance: {u.token}}
				for _, refusal := range refusals() {
					// Each refusal has a conversation of its own, since a refused one cannot continue.
					script := fmt.Sprintf("[[error: %d retry-after=7 come back later]]", refusal.status)
					_, err := sdk.open(settings).ask(t.Context(), script)
					if got := refused(t, err); got.status != refusal.status || got.retryAfter != "7" || got.message != "come back later" {
						t.Errorf("status %d arrives as %+v", refusal.status, got)
					}
				}
				for n, recorded := range u.recorded(t, len(refusals())) {
					refusal := refusals()[n]
					recorded.checkFailure(t, refusal.kind, "come back later")
					if len(recorded.Prompts) != 1 || len(recorded.TokenUsages) != 0 || recorded.Client != sdk.client {
						t.Errorf("status %d is recorded as\n%s", refusal.status, indented(recorded))
					}
				}
			})
		}
	}
}

// checkFailure checks the recorded failure of an interception.
func (i interception) checkFailure(t *testing.T, kind, message string) {
	t.Helper()
	if i.failure() != kind || i.ErrorMessage == nil || !strings.Contains(*i.ErrorMessage, message) {
		t.Errorf("recorded is the failure %q, want %q with %q:\n%s", i.failure(), kind, message, indented(i))
	}
}

// TestBrokenAnswers has the upstream break off its answers: the SDK must report an error, not a whole answer.
func TestBrokenAnswers(t *testing.T) {
	const text = "[[text: This is a text of some length, so that it comes in several pieces, one after another.]]"
	cases := []struct {
		name, script string
		stream       bool
		kind         string // As recorded.
		message      string
		status       int             // The status, where the client can still get one.
		whole        map[string]bool // The formats in which the answer counts as whole nevertheless.
	}{
		{name: "cut-stream", script: text + "[[cut: after=5]]", stream: true, kind: "truncated"},
		{name: "cut-before-the-answer", script: text + "[[cut: after=0]]", stream: true, kind: "server_error", status: 502},
		{name: "cut-body", script: text + "[[cut]]", kind: "truncated", status: 502},
		// In the chat API, a stream that ends in good order after a finish reason needs no [DONE].
		{name: "no-last-event", script: text + "[[no-done]]", stream: true, kind: "truncated", whole: map[string]bool{"chat": true}},
		{
			name: "error-event", script: text + "[[error-event: overloaded_error after=4 too busy]]", stream: true,
			kind: "overloaded", message: "too busy",
		},
	}
	for _, sdk := range sdks() {
		for _, c := range cases {
			t.Run(sdk.name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				u := newUser(t)
				said, err := sdk.open(u.settings(sdk, c.stream)).ask(t.Context(), c.script)
				recorded := u.recorded(t, 1)[0]
				if c.whole[sdk.name] {
					if err != nil {
						t.Fatal(err)
					}
					compare(t, recorded, said)
					return
				}
				if err == nil {
					t.Errorf("the SDK took it for a whole answer:\n%s", indented(said))
				}
				if c.stream && c.kind == "truncated" && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("the connection was not broken off: %v", err)
				}
				if c.status != 0 && refused(t, err).status != c.status {
					t.Errorf("the SDK saw the status %d, want %d", refused(t, err).status, c.status)
				}
				recorded.checkFailure(t, c.kind, c.message)
				for _, usage := range recorded.TokenUsages {
					if usage.Metadata["partial"] != true {
						t.Errorf("the usage of a part of an answer is not marked: %v", usage.Metadata)
					}
				}
			})
		}
	}
}

// TestClientLeaves has clients leave while they receive a stream, and while they wait for a body.
func TestClientLeaves(t *testing.T) {
	for _, sdk := range sdks() {
		t.Run(sdk.name+"/streaming", func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			settings := u.settings(sdk, true)
			settings.onEvent = leave
			_, err := sdk.open(settings).ask(ctx, "[[text: A long text, which nobody stays for, in many pieces.]] [[delay: 200ms]]")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the SDK reports %v", err)
			}
			u.recorded(t, 1)[0].checkFailure(t, "client_closed", "")
		})
		t.Run(sdk.name+"/blocking", func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			left := make(chan error, 1)
			go func() {
				_, err := sdk.open(u.settings(sdk, false)).ask(ctx, "[[silence: 1h]]")
				left <- err
			}()
			u.begun(t, 1)
			leave()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("the SDK reports %v", err)
			}
			u.recorded(t, 1)[0].checkFailure(t, "client_closed", "")
		})
	}
}
