package vertex_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/vertex"
	"github.com/coder/aibridged/internal/fakevertex"
	"github.com/coder/aibridged/internal/testkit"
)

const stream = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_vrtx_1\",\"model\":\"claude-sonnet-4-5\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n" +
	"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n" +
	"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

const whole = `{"id":"msg_vrtx_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}`

// answer is what the fake Vertex answers.
func answer(r fakevertex.Request) fakevertex.Answer {
	path, _, _ := strings.Cut(r.URI, "?")
	switch {
	case strings.HasSuffix(path, "count-tokens:rawPredict"):
		return fakevertex.Answer{Body: `{"input_tokens":3}`}
	case strings.HasSuffix(path, ":streamRawPredict"):
		return fakevertex.Answer{ContentType: "text/event-stream; charset=utf-8", Body: stream}
	case strings.Contains(path, "/models/unknown:"):
		return fakevertex.Answer{Status: http.StatusNotFound, Body: `[{"error":{"code":404,"message":"not found","status":"NOT_FOUND"}}]`}
	}
	return fakevertex.Answer{Body: whole}
}

// newGateway starts a gateway with one provider, named "vertex", at a fake one.
func newGateway(t *testing.T, fake *fakevertex.Server, options vertex.Options) *testkit.Gateway {
	t.Helper()
	options.Provider.BaseURL = fake.URL + "/v1"
	options.Project, options.Region = "my-project", "us-east5"
	provider, err := vertex.NewProvider("vertex", options)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.NewGateway(t, "", testkit.GatewayOptions{Provider: []aibridge.Provider{provider}})
}

// post sends a request of the user's, with further headers, which are pairs of name and value.
func post(t *testing.T, g *testkit.Gateway, path, body string, headers ...string) (status int, answer string) {
	t.Helper()
	r := g.Request(t, http.MethodPost, path, body)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	got, err := testkit.NewClient(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(text)
}

const models = "/v1/projects/my-project/locations/us-east5/publishers/anthropic/models/"

// TestRequests checks what reaches Vertex, byte for byte, what comes back, and which model is recorded.
func TestRequests(t *testing.T) {
	const messages = `"messages":[{"role":"user","content":"Hi"}]`
	for name, test := range map[string]struct {
		path, body string
		uri, sent  string
		status     int
		answer     string
		recorded   string // The model; empty: nothing is recorded.
	}{
		"stream of Messages": {
			path: "/v1/messages?beta=true", body: `{"model":"claude-sonnet-4-5","stream":true, ` + messages + `,"betas":[1e400]}`,
			uri: models + "claude-sonnet-4-5@20250929:streamRawPredict", sent: `{"stream":true, ` + messages + `,"betas":[1e400],"anthropic_version":"vertex-2023-10-16"}`,
			answer: stream, recorded: "claude-sonnet-4-5",
		},
		"blocking Messages": {
			path: "/v1/messages", body: `{` + messages + `,"anthropic_version":"vertex-2099-01-01","model":"claude-opus-4-6"}`,
			uri: models + "claude-opus-4-6:rawPredict", sent: `{` + messages + `,"anthropic_version":"vertex-2099-01-01"}`,
			answer: whole, recorded: "claude-opus-4-6",
		},
		"odd model": {
			path: "/v1/messages", body: `{"model":"a/b?c",` + messages + `}`,
			uri: models + "a%2Fb%3Fc:rawPredict", sent: `{` + messages + `,"anthropic_version":"vertex-2023-10-16"}`, answer: whole, recorded: "a/b?c",
		},
		"tokens of Messages": {
			path: "/v1/messages/count_tokens?beta=true", body: `{"model":"claude-sonnet-4-5",` + messages + `}`,
			uri: models + "count-tokens:rawPredict", sent: `{"model":"claude-sonnet-4-5@20250929",` + messages + `,"anthropic_version":"vertex-2023-10-16"}`,
			answer: `{"input_tokens":3}`,
		},
		"refused": {
			path: "/v1/messages", body: `{"model":"unknown",` + messages + `}`,
			uri: models + "unknown:rawPredict", sent: `{` + messages + `,"anthropic_version":"vertex-2023-10-16"}`,
			status: 404, answer: `[{"error":{"code":404,"message":"not found","status":"NOT_FOUND"}}]`, recorded: "unknown",
		},
		"stream of Vertex": {
			path: models + "claude-haiku-4-5@20251001:streamRawPredict?x=1", body: ` {"anthropic_version":"vertex-2023-10-16","stream":true,` + messages + `}`,
			uri: models + "claude-haiku-4-5@20251001:streamRawPredict?x=1", sent: ` {"anthropic_version":"vertex-2023-10-16","stream":true,` + messages + `}`,
			answer: stream, recorded: "claude-haiku-4-5@20251001",
		},
		"blocking Vertex, without the version": {
			path: strings.TrimPrefix(models, "/v1") + "claude-haiku-4-5%4020251001:rawPredict", body: `{` + messages + `}`,
			uri: models + "claude-haiku-4-5%4020251001:rawPredict", sent: `{` + messages + `}`, answer: whole, recorded: "claude-haiku-4-5@20251001",
		},
		"tokens of Vertex": {
			path: models + "count-tokens:rawPredict", body: `{"model":"claude-haiku-4-5",` + messages + `}`,
			uri: models + "count-tokens:rawPredict", sent: `{"model":"claude-haiku-4-5",` + messages + `}`, answer: `{"input_tokens":3}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			fake := fakevertex.New(t, answer)
			g := newGateway(t, fake, vertex.Options{
				Credentials: vertex.Credentials{ServiceAccount: fake.ServiceAccount()},
				Models:      map[string]string{"claude-sonnet-4-5": "claude-sonnet-4-5@20250929"},
			})
			status, got := post(t, g, "/vertex"+test.path, test.body, "anthropic-beta", "a, b", "anthropic-version", "2023-06-01", "X-Ai-Bridge-Sign", "no")
			if status != max(test.status, http.StatusOK) || got != test.answer {
				t.Fatalf("%d %s", status, got)
			}
			sent := fake.Requests()
			if len(sent) != 1 || sent[0].URI != test.uri || sent[0].Body != test.sent {
				t.Fatalf("sent %+v\nwant %s\n%s", sent, test.uri, test.sent)
			}
			if sent[0].Header.Get("Anthropic-Beta") != "a, b" || sent[0].Header.Get("X-Ai-Bridge-Sign") != "" || sent[0].Header.Get("Authorization") != "Bearer "+fakevertex.Token {
				t.Errorf("sent %v", sent[0].Header)
			}
			if test.recorded == "" {
				return
			}
			records := testkit.RenderRecords(t, g.Control.WaitEnds(t, 1))
			if want := `"model":"` + test.recorded + `","provider":"vertex"`; !strings.Contains(records, want) || !strings.Contains(records, `"prompt":"Hi"`) {
				t.Errorf("want %s in\n%s", want, records)
			}
			if !strings.Contains(records, `"output_tokens":"2"`) && test.status == 0 {
				t.Errorf("no usage in\n%s", records)
			}
			if strings.Contains(records+g.Log.String(), "canary") {
				t.Errorf("a secret is in\n%s\n%s", records, g.Log)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	fake := fakevertex.New(t, answer)
	g := newGateway(t, fake, vertex.Options{Credentials: vertex.Credentials{ServiceAccount: fake.ServiceAccount()}})
	for path, body := range map[string]string{
		"/v1/messages?x":                  `{"model":"a/../b","messages":[]}`,
		"/v1/messages":                    `{"model":"..","messages":[]}`,
		models + "x:rawPredict":           `{}`,
		models + "a%2F..%2F..:rawPredict": `{"messages":[]}`,
		strings.Replace(models, "my-project", "a%2Fb", 1) + "x:rawPredict": `{"messages":[]}`,
	} {
		if status, got := post(t, g, "/vertex"+path, body); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", path, status, got)
		}
	}
	for _, path := range []string{models + "x:predict", models + ":rawPredict", models + "x", models + "x/y:rawPredict", "/v1/projects/p:rawPredict"} {
		if status, got := post(t, g, "/vertex"+path, `{"messages":[]}`); status != http.StatusNotFound && status != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, status, got)
		}
	}
	if sent := fake.Requests(); len(sent) != 0 {
		t.Errorf("sent %+v", sent)
	}
}

// TestTokens checks that an access token is fetched once and that callers with their own keep it.
func TestTokens(t *testing.T) {
	fake := fakevertex.New(t, answer)
	g := newGateway(t, fake, vertex.Options{Credentials: vertex.Credentials{ServiceAccount: fake.ServiceAccount()}})
	for range 2 {
		if status, got := post(t, g, "/vertex"+models+"x:rawPredict", `{"messages":[]}`); status != http.StatusOK {
			t.Fatalf("%d %s", status, got)
		}
	}
	if n := fake.Fetched(); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
	own := []string{"X-Coder-AI-Governance-Token", testkit.Token, "Authorization", "Bearer " + fakevertex.OwnToken}
	if status, got := post(t, g, "/vertex"+models+"x:rawPredict", `{"messages":[]}`, own...); status != http.StatusOK {
		t.Fatalf("%d %s", status, got)
	}
	if sent := fake.Requests(); sent[2].Header.Get("Authorization") != "Bearer "+fakevertex.OwnToken {
		t.Errorf("sent %v", sent[2].Header)
	}
	own[3] = ""
	if status, got := post(t, g, "/vertex"+models+"x:rawPredict", `{"messages":[]}`, own...); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d %s", status, got)
	}
}

// TestTheAccessTokenIsNeverTold checks that an error which repeats the gateway's access token does not tell it, and that a
// caller's own one stays.
func TestTheAccessTokenIsNeverTold(t *testing.T) {
	fake := fakevertex.New(t, func(r fakevertex.Request) fakevertex.Answer {
		return fakevertex.Answer{Status: http.StatusForbidden, Body: `{"error":"not with ` + r.Header.Get("Authorization") + `"}`}
	})
	g := newGateway(t, fake, vertex.Options{Credentials: vertex.Credentials{ServiceAccount: fake.ServiceAccount()}})
	for path, body := range map[string]string{
		models + "x:rawPredict": `{"messages":[]}`, models + "count-tokens:rawPredict": `{}`, "/v1/messages": `{"model":"m","messages":[]}`,
	} {
		if status, got := post(t, g, "/vertex"+path, body); status != http.StatusForbidden || got != `{"error":"not with Bearer ya29...eway"}` {
			t.Errorf("%s: %d %s", path, status, got)
		}
		own := []string{"X-Coder-AI-Governance-Token", testkit.Token, "Authorization", "Bearer " + fakevertex.OwnToken}
		if status, got := post(t, g, "/vertex"+path, body, own...); status != http.StatusForbidden || !strings.Contains(got, fakevertex.OwnToken) {
			t.Errorf("%s, own: %d %s", path, status, got)
		}
	}
}

func TestDefaultCredentials(t *testing.T) {
	fake := fakevertex.New(t, answer)
	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, fake.ServiceAccount(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	g := newGateway(t, fake, vertex.Options{Credentials: vertex.Credentials{Default: true}})
	if status, got := post(t, g, "/vertex"+models+"x:rawPredict", `{"messages":[]}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, got)
	}
	// Without that choice, the environment does not count.
	none := newGateway(t, fake, vertex.Options{})
	if status, got := post(t, none, "/vertex"+models+"x:rawPredict", `{"messages":[]}`); status != http.StatusForbidden {
		t.Errorf("without credentials: %d %s", status, got)
	}
}

func TestNoTokenAtTheMoment(t *testing.T) {
	fake, other := fakevertex.New(t, answer), fakevertex.New(t, answer)
	account := strings.Replace(string(other.ServiceAccount()), other.URL, fake.URL, 1) // Signed with another key.
	g := newGateway(t, fake, vertex.Options{Credentials: vertex.Credentials{ServiceAccount: []byte(account)}})
	const want = `{"type":"error","error":{"type":"api_error","message":"the gateway has no Google credentials at the moment"}}`
	if status, got := post(t, g, "/vertex"+models+"x:rawPredict", `{"messages":[]}`); status != http.StatusBadGateway || got != want {
		t.Errorf("%d %s", status, got)
	}
}

func TestOptionsThatContradict(t *testing.T) {
	for want, options := range map[string]vertex.Options{
		`provider "v": region "": write one of Vertex's, for example us-east5 or global`:                                 {},
		`provider "v": region "a.b/": write one of Vertex's, for example us-east5 or global`:                             {Region: "a.b/"},
		`provider "v": project "a/b": write its id or number`:                                                            {Region: "eu", Project: "a/b"},
		`provider "v": a key is set: Vertex takes the default credentials or a service account`:                          {Region: "eu", Provider: aibridge.ProviderOptions{Key: "k"}},
		`provider "v": credentials: both the default credentials and a service account are set: choose one`:              {Region: "eu", Credentials: vertex.Credentials{Default: true, ServiceAccount: []byte("{}")}},
		`provider "v": credentials: the service account's key cannot be read: it must be the JSON file that Google made`: {Region: "eu", Credentials: vertex.Credentials{ServiceAccount: []byte(`{"type":"secret"}`)}},
	} {
		if _, err := vertex.NewProvider("v", options); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
