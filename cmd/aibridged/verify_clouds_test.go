package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/fakevertex"
	"github.com/coder/aibridged/internal/kept"
)

// cloudAnswer returns what a cloud's answer is, by a word in the prompt, and that answer as frames and as a body.
func cloudAnswer(prompt string) (events []string, frames fakebedrock.Answer, body string) {
	events = []string{
		`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"ls","input":{}}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":7}}`,
		`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3}}`,
	}
	frames = fakebedrock.Answer{Frames: fakebedrock.Events(events...)}
	body = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"tool_use","id":"toolu_1","name":"ls","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":7}}`
	switch {
	case strings.Contains(prompt, "cut"):
		frames.Cut = 700
	case strings.Contains(prompt, "damaged"):
		frames.Damage = 700
	case strings.Contains(prompt, "short"):
		frames.Frames = frames.Frames[:3]
	case strings.Contains(prompt, "throttled first"):
		frames.Frames = []fakebedrock.Frame{{Exception: "throttlingException", Message: "Too many"}}
	case strings.Contains(prompt, "throttled"):
		frames.Frames = append(frames.Frames[:3:3], fakebedrock.Frame{Exception: "throttlingException", Message: "Too many"})
	case strings.Contains(prompt, "refused"):
		frames = fakebedrock.Answer{Status: 400, Header: http.Header{"X-Amzn-Errortype": {"ValidationException"}}, Body: `{"message":"no"}`}
	}
	return events, frames, body
}

// TestVerifyClouds has a gateway keep exchanges with Bedrock and Vertex, translated and not, and verifies its records.
func TestVerifyClouds(t *testing.T) {
	key := fakebedrock.Key{ID: "AKIAGATEWAY", Secret: "canary-secret-of-the-gateway"}
	bedrock := fakebedrock.New(t, fakebedrock.Options{Keys: []fakebedrock.Key{key}, Answer: func(r fakebedrock.Request) fakebedrock.Answer {
		_, frames, body := cloudAnswer(r.Body)
		if strings.HasSuffix(r.URI, "/invoke") && frames.Status == 0 {
			return fakebedrock.Answer{Body: body}
		}
		return frames
	}})
	vertex := fakevertex.New(t, func(r fakevertex.Request) fakevertex.Answer {
		events, _, body := cloudAnswer(r.Body)
		if strings.HasSuffix(r.URI, ":rawPredict") {
			return fakevertex.Answer{Body: body}
		}
		stream := ""
		for _, event := range events {
			stream += "data: " + event + "\n\n"
		}
		return fakevertex.Answer{ContentType: "text/event-stream", Body: stream}
	})
	account := filepath.Join(t.TempDir(), "account.json")
	if err := os.WriteFile(account, vertex.ServiceAccount(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_KEY_ID", key.ID)
	t.Setenv("TEST_KEY_SECRET", key.Secret)
	c := config{Providers: []providerConfig{
		{Name: "bedrock", Type: "bedrock", BaseURL: bedrock.URL, Bedrock: &bedrockConfig{
			Region: "us-east-1", Credentials: awsConfig{AccessKeyID: "${TEST_KEY_ID}", SecretAccessKey: "${TEST_KEY_SECRET}"},
		}},
		{Name: "vertex", Type: "vertex", BaseURL: vertex.URL + "/v1", Vertex: &vertexConfig{
			Region: "us-east5", Project: "p", Credentials: googleConfig{ServiceAccount: "file:" + account},
		}},
	}}
	s, exchanges, dumps := settings{dataDir: t.TempDir()}, t.TempDir(), t.TempDir()
	g, err := newGateway(t.Context(), s, c, gatewayOptions{observers: observerOptions{keepDir: exchanges, keepFor: time.Hour, dumpDir: dumps}})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(g.http.Handler)
	defer front.Close()
	token, _, err := g.plane.CreateToken(t.Context(), aibridgedserver.TokenParams{Username: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	const prompt, versioned = `"messages":[{"role":"user","content":"%s"}]`, `{"anthropic_version":"x",`
	const models = "/vertex/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-x"
	sent := 0
	say := func(path, body, words string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+path, strings.NewReader(fmt.Sprintf(body, words)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		sent++
	}
	for _, words := range []string{"whole", "cut", "damaged", "short", "throttled first", "throttled later", "refused"} {
		say("/bedrock/v1/messages", `{"model":"claude-x","stream":true,`+prompt+`}`, words)
		say("/bedrock/v1/messages", `{"model":"claude-x",`+prompt+`}`, words)
		say("/bedrock/model/arn%3Aaws%2Fclaude-x:0/invoke-with-response-stream", versioned+prompt+`}`, words)
		say("/bedrock/model/claude-x/invoke", versioned+prompt+`}`, words)
	}
	say("/vertex/v1/messages", `{"model":"claude-x","stream":true,`+prompt+`}`, "whole")
	say(models+":streamRawPredict", versioned+prompt+`}`, "whole")
	say(models+":rawPredict", versioned+prompt+`}`, "whole")
	if _, err := waitForRecords(t.Context(), g.plane.store, sent); err != nil {
		t.Fatal(err)
	}
	if err := g.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := verified(t, s.dataDir, exchanges)
	if want := fmt.Sprintf("%d interceptions verified, 0 differ, 0 without kept bytes\n", sent); out != want || err != nil {
		t.Errorf("printed\n%swith %v, want %s", out, err, want)
	}
	for file, err := range kept.Files(exchanges) {
		if err != nil {
			t.Fatal(err)
		}
		exchange, err := kept.ReadFile(exchanges, file.Interception, file.Round)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%+v", exchange); strings.Contains(text, "canary") || strings.Contains(text, token) {
			t.Errorf("a secret was kept: %.500s", text)
		}
	}
	files, err := filepath.Glob(filepath.Join(dumps, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d dumps, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"canary", token, "Signature="} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s was dumped: %.500s", secret, text)
			}
		}
	}
}
