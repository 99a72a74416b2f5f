package bedrock_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge/bedrock"
	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/testkit"
)

// TestAnswers checks what a client of the Messages API gets for what Bedrock answers, and how the interception ends.
func TestAnswers(t *testing.T) {
	events := fakebedrock.Events(hello()...)
	throttled := fakebedrock.Frame{Exception: "throttlingException", Message: "Too many tokens"}
	two := len(fakebedrock.Encode(events[:2]...))
	first := strings.Join(strings.SplitAfter(helloSSE(), "\n\n")[:2], "")
	const tooMany = `{"type":"error","error":{"type":"rate_limit_error","message":"Too many tokens"}}`
	for name, test := range map[string]struct {
		answer   fakebedrock.Answer
		blocking bool
		status   int
		body     string
		aborted  bool
		end      string // The error type of the record.
	}{
		"stream":                    {answer: fakebedrock.Answer{Frames: events}, status: 200, body: helloSSE()},
		"blocking":                  {answer: fakebedrock.Answer{Body: helloBody}, blocking: true, status: 200, body: helloBody},
		"frames of other kinds":     {answer: fakebedrock.Answer{Frames: append([]fakebedrock.Frame{{Other: "initial-response"}}, events...)}, status: 200, body: helloSSE()},
		"exception at first":        {answer: fakebedrock.Answer{Frames: []fakebedrock.Frame{throttled}}, status: 429, body: tooMany, end: "rate_limited"},
		"exception behind a skip":   {answer: fakebedrock.Answer{Frames: []fakebedrock.Frame{{Other: "x"}, throttled}}, status: 429, body: tooMany, end: "rate_limited"},
		"model's error at first":    {answer: fakebedrock.Answer{Frames: []fakebedrock.Frame{{Exception: "modelStreamErrorException", Message: "m"}}}, status: 424, body: `{"type":"error","error":{"type":"api_error","message":"m"}}`, end: "unknown"},
		"exception later":           {answer: fakebedrock.Answer{Frames: append(events[:2:2], throttled)}, status: 200, body: first + "event: error\ndata: " + tooMany + "\n\n", end: "rate_limited"},
		"nothing behind exceptions": {answer: fakebedrock.Answer{Frames: append(append(events[:2:2], throttled), events[2:]...)}, status: 200, body: first + "event: error\ndata: " + tooMany + "\n\n", end: "rate_limited"},
		"cut in a frame":            {answer: fakebedrock.Answer{Frames: events, Cut: two + 20}, status: 200, body: first, aborted: true, end: "truncated"},
		"cut between frames":        {answer: fakebedrock.Answer{Frames: events[:2]}, status: 200, body: first, aborted: true, end: "truncated"},
		"damaged":                   {answer: fakebedrock.Answer{Frames: events, Damage: two + 60}, status: 200, body: first, aborted: true, end: "truncated"},
		"damaged length":            {answer: fakebedrock.Answer{Frames: events, Damage: two + 3}, status: 200, body: first, aborted: true, end: "truncated"},
		"damaged at first":          {answer: fakebedrock.Answer{Frames: events, Damage: 40}, status: 502, body: `{"type":"error","error":{"type":"api_error","message":"upstream connection failed"}}`, end: "server_error"},
		"empty":                     {answer: fakebedrock.Answer{Frames: []fakebedrock.Frame{}}, status: 200, aborted: true, end: "truncated"},
		"refused": {
			answer: fakebedrock.Answer{Status: 400, Header: http.Header{"X-Amzn-Errortype": {"ValidationException:http://internal.amazon.com/"}}, Body: `{"message":"thinking.budget_tokens: too \"small\""}`},
			status: 400, body: `{"type":"error","error":{"type":"invalid_request_error","message":"thinking.budget_tokens: too \"small\""}}`, end: "bad_request",
		},
		"refused by a proxy": {answer: fakebedrock.Answer{Status: 503, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html>"}, blocking: true, status: 503, body: `{"type":"error","error":{"type":"overloaded_error","message":"Service Unavailable"}}`, end: "overloaded"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.answer.Header == nil {
				test.answer.Header = http.Header{}
			}
			test.answer.Header.Set("X-Amzn-Requestid", "req-1")
			fake := fakebedrock.New(t, answering(test.answer))
			g := newGateway(t, fake.URL, bedrock.Options{Credentials: static()})
			body := ask
			if test.blocking {
				body = strings.Replace(ask, `"stream":true,`, "", 1)
			}
			got := post(t, g, "/bedrock/v1/messages", body)
			if got.status != test.status || got.body != test.body || (got.err != nil) != test.aborted {
				t.Errorf("%d %s, %v\nwant %d %s", got.status, got.body, got.err, test.status, test.body)
			}
			if id := got.header.Get("Request-Id"); id != "req-1" && test.status != http.StatusBadGateway {
				t.Errorf("request id %q", id)
			}
			if media := got.header.Get("Content-Type"); media != "text/event-stream" && test.status == 200 && !test.blocking {
				t.Errorf("content type %q", media)
			}
			records := testkit.RenderRecords(t, g.Control.WaitEnds(t, 1))
			if want := `"error_type":"` + test.end + `"`; test.end != "" && !strings.Contains(records, want) || test.end == "" && strings.Contains(records, "error_type") {
				t.Errorf("want an end of type %q:\n%s", test.end, records)
			}
			if strings.Contains(records+g.Log.String(), "canary") {
				t.Errorf("a secret is in\n%s\n%s", records, g.Log)
			}
			if isWhole := test.end == ""; isWhole && !strings.Contains(records, `"input_tokens":"3"`) {
				t.Errorf("no usage in\n%s", records)
			}
		})
	}
}

// TestTheSessionTokenIsNeverTold checks that an error which repeats the token of the gateway's session does not tell it to a
// client of either API.
func TestTheSessionTokenIsNeverTold(t *testing.T) {
	for _, status := range []int{400, 403, 429, 500} {
		fake := fakebedrock.New(t, answering(fakebedrock.Answer{
			Status: status, Header: http.Header{"X-Amzn-Errortype": {"InvalidSignatureException"}, "X-Echo": {key().Token}},
			Body: `{"message":"the canonical string is 'x-amz-security-token:` + key().Token + `'"}`,
		}))
		g := newGateway(t, fake.URL, bedrock.Options{Credentials: static()})
		for path, body := range map[string]string{"/v1/messages": ask, "/model/m/invoke": invokeBody, "/model/m/count-tokens": "{}"} {
			got := post(t, g, "/bedrock"+path, body)
			if got.status != status || strings.Contains(got.body, key().Token) || got.header.Get("X-Echo") != "cana...eway" || !strings.Contains(got.body, "security-token:cana...eway'") {
				t.Errorf("%d, %s: %d %v %s", status, path, got.status, got.header, got.body)
			}
		}
	}
}
