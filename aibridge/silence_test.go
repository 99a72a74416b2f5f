package aibridge_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/aibridge"
)

// slow is an upstream whose answer is a stream of pieces, each of which comes after a pause.
type slow struct {
	pieces []string
	pause  time.Duration
}

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	reader, writer := io.Pipe()
	go func() {
		for _, piece := range s.pieces {
			time.Sleep(s.pause)
			if _, err := io.WriteString(writer, piece); err != nil {
				return // The client has left.
			}
		}
		_ = writer.Close()
	}()
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: reader,
	}, nil
}

const (
	messagesPing = "event: ping\ndata: {\"type\": \"ping\"}\n\n"
	chatPing     = ": ping\n\n"
	chatDone     = "data: [DONE]\n\n"
)

// TestSilentUpstream is about a provider that lets minutes pass within a stream: the client hears of the gateway every 15
// seconds, but never within an event, nor before the first.
func TestSilentUpstream(t *testing.T) {
	text := "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n"
	created := "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"r\"}}\n\n"
	completed := "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":7,\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[]}}\n\n"
	keepalive := func(number string) string {
		return "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":" + number + "}\n\n"
	}
	const messages, chat, responses = "/p/v1/messages", "/p/chat/completions", "/p/responses"
	pause := 40 * time.Second // Two pings.
	for name, test := range map[string]struct {
		path   string
		pieces []string
		want   []string
	}{
		"messages":          {messages, []string{beginning, text, stop}, []string{beginning, messagesPing, messagesPing, text, messagesPing, messagesPing, stop}},
		"within an event":   {messages, []string{beginning + text[:30], text[30:], stop}, []string{beginning, text, messagesPing, messagesPing, stop}},
		"within a line end": {messages, []string{beginning[:len(beginning)-1], "\n" + text, stop}, []string{beginning, text, messagesPing, messagesPing, stop}},
		"CR LF": {
			messages,
			[]string{strings.ReplaceAll(beginning, "\n", "\r\n"), stop},
			[]string{strings.ReplaceAll(beginning, "\n", "\r\n"), messagesPing, messagesPing, stop},
		},
		"chat":      {chat, []string{chatText, chatFinish, chatUsage + chatDone}, []string{chatText, chatPing, chatPing, chatFinish, chatPing, chatPing, chatUsage + chatDone}},
		"responses": {responses, []string{created, completed}, []string{created, keepalive("0"), keepalive("0"), completed}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, silent := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					maker := aibridge.NewOpenAIProvider
					if test.path == messages {
						maker = aibridge.NewAnthropicProvider
					}
					if silent {
						maker = aibridge.NewCopilotProvider
					}
					provider, err := maker("p", aibridge.ProviderOptions{Key: "key-0123456789", Transport: slow{test.pieces, pause}})
					if err != nil {
						t.Fatal(err)
					}
					providers, err := aibridge.NewProviderSet(provider)
					if err != nil {
						t.Fatal(err)
					}
					path := test.path
					if !silent && path != messages {
						path = strings.Replace(path, "/p/", "/p/v1/", 1)
					}
					bridge := acting(aibridge.NewRequestBridge(providers, discard{}, aibridge.BridgeOptions{}))
					body := `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[],"input":"x"}`
					w := httptest.NewRecorder()
					bridge.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body)))
					want := strings.Join(test.want, "")
					if !silent {
						want = strings.Join(test.pieces, "")
					}
					if got := w.Body.String(); got != want {
						t.Errorf("silent: %t: got\n%s\nwant\n%s", silent, got, want)
					}
				})
			}
		})
	}
}

// TestSilentUpstreamAndLostClient checks that a request ends when its client does not take the ping.
func TestSilentUpstreamAndLostClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, err := aibridge.NewCopilotProvider("p", aibridge.ProviderOptions{
			Key: "key-0123456789", Transport: slow{[]string{beginning, stop}, time.Hour},
		})
		if err != nil {
			t.Fatal(err)
		}
		providers, err := aibridge.NewProviderSet(provider)
		if err != nil {
			t.Fatal(err)
		}
		bridge := acting(aibridge.NewRequestBridge(providers, discard{}, aibridge.BridgeOptions{}))
		w := &leaving{ResponseRecorder: httptest.NewRecorder(), writes: 1}
		ctx := context.WithValue(t.Context(), http.ServerContextKey, &http.Server{}) // So that it aborts.
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/p/v1/messages", strings.NewReader(`{"model":"m","stream":true,"messages":[]}`))
		began := time.Now()
		func() {
			defer func() { _ = recover() }()
			bridge.ServeHTTP(w, r)
		}()
		if took, want := time.Since(began), time.Hour+15*time.Second; took != want {
			t.Errorf("the request ended after %v, want %v", took, want)
		}
		time.Sleep(time.Hour) // The upstream notices that nobody reads.
		if got := slices.Compact([]string{w.Body.String(), beginning}); len(got) > 1 {
			t.Errorf("got %q", got[0])
		}
	})
}

// leaving is a client that takes a number of writes and is gone then.
type leaving struct {
	*httptest.ResponseRecorder
	writes int
}

func (l *leaving) Write(p []byte) (int, error) {
	if l.writes--; l.writes < 0 {
		return 0, io.ErrClosedPipe
	}
	return l.ResponseRecorder.Write(p)
}
