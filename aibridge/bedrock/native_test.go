package bedrock_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/bedrock"
	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/testkit"
)

// invokeBody is a request of a client that speaks Bedrock.
const invokeBody = ` {"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"anthropic_beta":["claude-code-20250219"],"tools":[{"strict":true,"name":"t"}],"messages":[{"role":"user","content":"Hi"}],"n":1e400}`

// TestNativeRequests checks what reaches Bedrock for a request of its own clients, byte for byte.
func TestNativeRequests(t *testing.T) {
	for name, test := range map[string]struct {
		method, path, body string
		control            bool
		recorded           string // The model.
	}{
		"stream":          {http.MethodPost, "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream", invokeBody, false, "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
		"blocking":        {http.MethodPost, "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke", invokeBody, false, "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
		"ARN":             {http.MethodPost, "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fabc/invoke", invokeBody, false, "arn:aws:bedrock:us-east-1:1:inference-profile/abc"},
		"ARN with colons": {http.MethodPost, "/model/arn:aws:bedrock:us-east-1:1:inference-profile%2fabc./invoke?x=%20y&a", invokeBody, false, "arn:aws:bedrock:us-east-1:1:inference-profile/abc."},
		"tokens":          {http.MethodPost, "/model/anthropic.claude/count-tokens", `{"input":{"invokeModel":{"body":"e30="}}}`, false, ""},
		"profiles":        {http.MethodGet, "/inference-profiles?type=SYSTEM_DEFINED&maxResults=9", "", true, ""},
		"profile":         {http.MethodGet, "/inference-profiles/arn%3Aaws%3Abedrock%3A1%3Aapplication-inference-profile%2Fabc", "", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			runtime := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
			control := fakebedrock.New(t, answering(fakebedrock.Answer{Body: helloBody}))
			g := newGateway(t, runtime.URL, bedrock.Options{Credentials: static(), ControlURL: control.URL, Models: map[string]string{"anthropic.claude": "other"}})
			r := g.Request(t, test.method, "/bedrock"+test.path, test.body)
			r.Header.Set("X-Amzn-Bedrock-Trace", "ENABLED")
			r.Header.Set("X-Amz-User-Agent", "aws-sdk-js/3.1   ua/2.1")
			r.Header.Set("Anthropic-Beta", "x")
			r.Header.Set("X-Amz-Date", "20200101T000000Z")
			if got := do(t, r); got.status != http.StatusOK || got.body != helloBody {
				t.Fatalf("%d %s", got.status, got.body)
			}
			fake := runtime
			if test.control {
				fake = control
			}
			sent := fake.Requests()
			if len(sent) != 1 || sent[0].URI != test.path || sent[0].Body != test.body || sent[0].Method != test.method {
				t.Fatalf("sent %+v", sent)
			}
			if h := sent[0].Header; h.Get("X-Amzn-Bedrock-Trace") != "ENABLED" || h.Get("Anthropic-Beta") != "x" || h.Get("Accept-Encoding") != "identity" {
				t.Errorf("sent %v", h)
			}
			if signed := sent[0].Header.Get("Authorization"); !strings.Contains(signed, "x-amzn-bedrock-trace") || !strings.Contains(signed, "x-amz-user-agent") || sent[0].Header.Get("X-Amz-User-Agent") != "aws-sdk-js/3.1   ua/2.1" {
				t.Errorf("signed %s", signed)
			}
			if test.recorded == "" {
				return
			}
			records := testkit.RenderRecords(t, g.Control.WaitEnds(t, 1))
			if !strings.Contains(records, `"model":"`+test.recorded+`","provider":"bedrock"`) || !strings.Contains(records, `"output_tokens":"2"`) ||
				!strings.Contains(records, `"prompt":"Hi"`) || strings.Contains(records, "error_type") {
				t.Error(records)
			}
		})
	}
}

// TestNativeStreams checks that a client of Bedrock gets the frames byte for byte, and what is recorded of them.
func TestNativeStreams(t *testing.T) {
	events := fakebedrock.Events(hello()...)
	stream := fakebedrock.Encode(events...)
	two := len(fakebedrock.Encode(events[:2]...))
	throttled := fakebedrock.Frame{Exception: "throttlingException", Message: "Too many tokens"}
	damaged := bytes.Clone(stream)
	damaged[two+59] ^= 0x20
	for name, test := range map[string]struct {
		answer  fakebedrock.Answer
		body    []byte
		aborted bool
		end     string // The error type of the record.
	}{
		"whole":              {answer: fakebedrock.Answer{Frames: events}, body: stream},
		"exception at first": {answer: fakebedrock.Answer{Frames: []fakebedrock.Frame{throttled}}, body: throttled.Encode(), end: "rate_limited"},
		"exception later":    {answer: fakebedrock.Answer{Frames: append(events[:2:2], throttled)}, body: append(stream[:two:two], throttled.Encode()...), end: "rate_limited"},
		"cut in a frame":     {answer: fakebedrock.Answer{Frames: events, Cut: two + 20}, body: stream[:two+20], aborted: true, end: "truncated"},
		"cut between frames": {answer: fakebedrock.Answer{Frames: events[:2]}, body: stream[:two], aborted: true, end: "truncated"},
		"damaged":            {answer: fakebedrock.Answer{Frames: events, Damage: two + 60}, body: damaged, aborted: true, end: "truncated"},
		"empty":              {answer: fakebedrock.Answer{Frames: []fakebedrock.Frame{}}, aborted: true, end: "truncated"},
		"other frames":       {answer: fakebedrock.Answer{Frames: append([]fakebedrock.Frame{{Other: "x"}}, events...)}, body: append(fakebedrock.Frame{Other: "x"}.Encode(), stream...)},
	} {
		t.Run(name, func(t *testing.T) {
			fake := fakebedrock.New(t, answering(test.answer))
			memory := aibridge.NewMemory(64 << 20)
			g := newGateway(t, fake.URL, bedrock.Options{Credentials: static(), Provider: aibridge.ProviderOptions{Memory: memory}})
			got := post(t, g, "/bedrock/model/anthropic.claude-sonnet-4-5-20250929-v1:0/invoke-with-response-stream", invokeBody)
			if got.status != http.StatusOK || got.body != string(test.body) || (got.err != nil) != test.aborted {
				t.Errorf("%d, %d bytes, want %d, %v", got.status, len(got.body), len(test.body), got.err)
			}
			if media := got.header.Get("Content-Type"); media != "application/vnd.amazon.eventstream" {
				t.Errorf("content type %q", media)
			}
			records := testkit.RenderRecords(t, g.Control.WaitEnds(t, 1))
			if want := `"error_type":"` + test.end + `"`; test.end != "" && !strings.Contains(records, want) || test.end == "" && strings.Contains(records, "error_type") {
				t.Errorf("want an end of type %q:\n%s", test.end, records)
			}
			if test.end == "" && (!strings.Contains(records, `"input_tokens":"3"`) || !strings.Contains(records, `"output_tokens":"2"`) || !strings.Contains(records, `"msg_id":"msg_bdrk_1"`)) {
				t.Errorf("no usage in\n%s", records)
			}
			if err := g.Server.Close(); err != nil {
				t.Fatal(err)
			}
			if used := memory.Used(); used != 0 {
				t.Errorf("%d bytes are still lent", used)
			}
		})
	}
}

// TestNativeStreamFlows checks that a frame reaches the client before the next one comes.
func TestNativeStreamFlows(t *testing.T) {
	events := fakebedrock.Events(hello()...)
	hold := make(chan struct{})
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Frames: events, Hold: map[int]<-chan struct{}{1: hold}}))
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: static()})
	answer, err := testkit.NewClient(t).Do(g.Request(t, http.MethodPost, "/bedrock/model/m/invoke-with-response-stream", invokeBody))
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, len(events[0].Encode()))
	if _, err := answer.Body.Read(first); err != nil || !bytes.HasPrefix(events[0].Encode(), first[:1]) {
		t.Error(err)
	}
	close(hold)
	_ = answer.Body.Close()
	g.Control.WaitEnds(t, 1)
}

func TestNativeRefusals(t *testing.T) {
	fake := fakebedrock.New(t, answering(fakebedrock.Answer{Status: 429, Header: http.Header{"X-Amzn-Errortype": {"ThrottlingException"}}, Body: `{"message":"slow"}`}))
	g := newGateway(t, fake.URL, bedrock.Options{Credentials: static()})
	for _, test := range []struct {
		path, body string
		status     int
		answer     string
	}{
		{"/model/m/invoke", invokeBody, 429, `{"message":"slow"}`}, // Bedrock's own words.
		{"/model/m/invoke", `{}`, 400, `{"__type":"ValidationException","message":"messages: an array is required"}`},
		{"/model/m/invoke-with-response-stream", `[]`, 400, `{"__type":"ValidationException","message":"request body: not a JSON object"}`},
		{"/model/../invoke", invokeBody, 400, ""},
		{"/model/a%2F..%2Fb/invoke", invokeBody, 400, ""},
		{"/model/a%2F%2Fb/invoke", invokeBody, 400, ""},
		{"/model/a%252Fb/invoke", invokeBody, 400, ""},
		{"/model/a/b/invoke", invokeBody, 403, ""},
		{"/model//invoke", invokeBody, 400, ""},
		{"/model/m/Invoke", invokeBody, 404, ""},
		{"/model/m/converse", `{"messages":[]}`, 403, ""},
		{"/v1/messages/count_tokens", `{"messages":[]}`, 403, ""},
	} {
		got := post(t, g, "/bedrock"+test.path, test.body)
		if got.status != test.status || test.answer != "" && got.body != test.answer {
			t.Errorf("%s: %d %s", test.path, got.status, got.body)
		}
	}
	if sent := fake.Requests(); len(sent) != 1 {
		t.Errorf("sent %+v", sent)
	}
}

// TestRecordedRoutesStayRecorded checks that no entry of passthrough opens another way to them.
func TestRecordedRoutesStayRecorded(t *testing.T) {
	for _, entry := range []string{"POST /model/", "POST /model/m/", "POST /model/m/invoke", "POST /model/m/INVOKE", "POST /Model/m/invoke-with-response-stream"} {
		_, err := bedrock.NewProvider("bedrock", bedrock.Options{Region: "us-east-1", Provider: aibridge.ProviderOptions{Passthrough: []string{entry}}})
		if err == nil || !strings.Contains(err.Error(), "which is recorded and cannot be passed through") {
			t.Errorf("%s: %v", entry, err)
		}
	}
	options := bedrock.Options{Region: "us-east-1", Provider: aibridge.ProviderOptions{Passthrough: []string{"POST /model/m/converse", "GET /model/"}}}
	if _, err := bedrock.NewProvider("bedrock", options); err != nil {
		t.Error(err)
	}
}
