package aibridge_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/coder/aibridged/aibridge"
)

// ends is a Recorder that keeps the ends of interceptions.
type ends struct {
	mu   sync.Mutex
	ends []*aibridge.InterceptionEnd // Guarded by mu.
}

func (e *ends) Record(_ context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, record := range records {
		if end, ok := record.(*aibridge.InterceptionEnd); ok {
			e.ends = append(e.ends, end)
		}
	}
	return nil, nil
}

// take returns the error types of the ends since the last call.
func (e *ends) take() (types []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, end := range e.ends {
		types = append(types, string(end.ErrorType))
	}
	e.ends = nil
	return types
}

// bridgeTo serves a bridge to an upstream, and returns its address and the ends that it records.
func bridgeTo(t *testing.T, upstream http.Handler) (string, *ends) {
	t.Helper()
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	bridge, recorder := bridgeAt(t, server.URL)
	gateway := httptest.NewServer(bridge)
	t.Cleanup(gateway.Close)
	return gateway.URL, recorder
}

// bridgeAt returns a bridge to an upstream at an address, and the ends that it records.
func bridgeAt(t *testing.T, upstream string) (http.Handler, *ends) {
	t.Helper()
	recorder := new(ends)
	return bridgeInto(t, upstream, recorder), recorder
}

// bridgeInto returns a bridge to an upstream at an address, which records into recorder.
func bridgeInto(t *testing.T, upstream string, recorder aibridge.Recorder) http.Handler {
	t.Helper()
	provider, err := aibridge.NewAnthropicProvider("p", aibridge.ProviderOptions{BaseURL: upstream, Key: "key", Breaker: aibridge.BreakerOptions{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	openai, err := aibridge.NewOpenAIProvider("o", aibridge.ProviderOptions{BaseURL: upstream + "/v1", Key: "key", Breaker: aibridge.BreakerOptions{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	providers, err := aibridge.NewProviderSet(provider, openai)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(providers.CloseIdleConnections)
	return acting(aibridge.NewRequestBridge(providers, recorder, aibridge.BridgeOptions{}))
}

// ask sends a request whose coding nobody undoes, and returns the answer, its body, and why the body ended early.
func ask(t *testing.T, address, path, body string) (*http.Response, string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	got, err := io.ReadAll(response.Body)
	return response, string(got), err
}

const (
	askStream = `{"model":"m","stream":true,"messages":[]}`
	askWhole  = `{"model":"m","messages":[]}`
)

// TestCodingCutOff is about an answer that ends cleanly for HTTP, but before its content coding does.
func TestCodingCutOff(t *testing.T) {
	coders := map[string]func(io.Writer) io.WriteCloser{
		"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"deflate": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"br":      func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser {
			coder, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			return coder
		},
	}
	for coding, coder := range coders {
		for _, streamed := range []bool{true, false} {
			for _, cut := range []int{0, 1, 12} {
				t.Run(coding+"/"+strconv.FormatBool(streamed)+"/"+strconv.Itoa(cut), func(t *testing.T) {
					kind, body, plain := "application/json", askWhole, whole
					if streamed {
						kind, body, plain = "text/event-stream", askStream, beginning
					}
					var coded bytes.Buffer
					w := coder(&coded)
					if _, err := io.WriteString(w, plain); err != nil {
						t.Fatal(err)
					}
					if cut == 0 && streamed {
						_, _ = io.WriteString(w, stop)
					}
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
					address, recorded := bridgeTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Content-Type", kind)
						w.Header().Set("Content-Encoding", coding)
						_, _ = w.Write(coded.Bytes()[:coded.Len()-cut])
						_ = http.NewResponseController(w).Flush()
					}))
					response, got, err := ask(t, address, "/p/v1/messages", body)
					types := strings.Join(recorded.take(), " ")
					switch {
					case cut == 0 && (err != nil || response.StatusCode != http.StatusOK || got != coded.String() || types != ""):
						t.Errorf("whole: status %d, %d bytes, error %v, recorded as %q", response.StatusCode, len(got), err, types)
					case cut > 0 && types != string(aibridge.ErrorTruncated):
						t.Errorf("cut off: recorded as %q", types)
					case cut > 0 && streamed && err == nil:
						t.Error("cut off: the client sees a clean end")
					case cut > 0 && !streamed && response.StatusCode != http.StatusBadGateway:
						t.Errorf("cut off: the client gets status %d", response.StatusCode)
					}
				})
			}
		}
	}
}

// TestAnnouncedLengthWithoutAnEnd is about a stream with a Content-Length whose bytes all come, but whose last event does
// not: the client must see a break, and gets all bytes but the last.
func TestAnnouncedLengthWithoutAnEnd(t *testing.T) {
	for name, stream := range map[string]string{"whole": beginning + stop, "no end": beginning, "half an event": beginning + stop[:20], "empty": ""} {
		t.Run(name, func(t *testing.T) {
			address, recorded := bridgeTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				w.Header().Set("Content-Length", strconv.Itoa(len(stream)))
				_, _ = io.WriteString(w, stream)
			}))
			response, got, err := ask(t, address, "/p/v1/messages", askStream)
			types := strings.Join(recorded.take(), " ")
			if name == "whole" {
				if err != nil || got != stream || types != "" || response.ContentLength != int64(len(stream)) {
					t.Errorf("%q, error %v, recorded as %q", got, err, types)
				}
				return
			}
			if !errors.Is(err, io.ErrUnexpectedEOF) || types != string(aibridge.ErrorTruncated) {
				t.Errorf("error %v, recorded as %q", err, types)
			}
			if want := stream[:max(len(stream)-1, 0)]; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestUnannouncedLengthWithoutAnEnd is about a chat stream whose Content-Length is not passed on, since an event may be
// withheld. Its client sees the break, so it gets every byte.
func TestUnannouncedLengthWithoutAnEnd(t *testing.T) {
	const stream = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hello\"}}]}\n\n"
	address, recorded := bridgeTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(stream)))
		_, _ = io.WriteString(w, stream)
	}))
	_, got, err := ask(t, address, "/o/v1/chat/completions", askStream)
	if types := strings.Join(recorded.take(), " "); err == nil || got != stream || types != string(aibridge.ErrorTruncated) {
		t.Errorf("got %q, error %v, recorded as %q", got, err, types)
	}
}

// TestNoGuessedContentType is about answers without a Content-Type: the client gets none either.
func TestNoGuessedContentType(t *testing.T) {
	address, _ := bridgeTo(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, map[string]string{"/v1/messages": whole, "/v1/messages/count_tokens": `{"input_tokens":1}`}[r.URL.Path])
	}))
	for _, path := range []string{"/p/v1/messages", "/p/v1/messages/count_tokens"} {
		response, err := http.Post(address+path, "application/json", strings.NewReader(askWhole))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK || response.Header["Content-Type"] != nil {
			t.Errorf("%s: status %d, Content-Type %q", path, response.StatusCode, response.Header["Content-Type"])
		}
	}
}

// TestOriginsAreTheHosts is about what answers say to browsers: if the host has said which origin may read them, what the
// upstream says does not go on.
func TestOriginsAreTheHosts(t *testing.T) {
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{
			StatusCode: 200, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(whole)), Body: io.NopCloser(strings.NewReader(whole)), Request: r,
			Header: http.Header{"Content-Type": {"application/json"}, "Access-Control-Allow-Origin": {"*"}, "Access-Control-Expose-Headers": {"request-id"}},
		}, nil
	})
	bridge := newBridge(t, transport, &ends{}, aibridge.BridgeOptions{})
	for _, path := range []string{"/p/v1/messages", "/p/v1/messages/count_tokens"} {
		for _, said := range []string{"", "https://app.example"} {
			w := httptest.NewRecorder()
			want, exposed := []string{"*"}, []string{"request-id"}
			if said != "" {
				w.Header().Set("Access-Control-Allow-Origin", said)
				want, exposed = []string{said}, nil
			}
			bridge.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(askWhole)))
			if got := w.Header(); w.Code != 200 || !slices.Equal(got["Access-Control-Allow-Origin"], want) || !slices.Equal(got["Access-Control-Expose-Headers"], exposed) {
				t.Errorf("%s, host says %q: %d %v", path, said, w.Code, got)
			}
		}
	}
}

// TestNoInformationalAnswerInHTTP10 is about informational answers, which HTTP/1.0 does not have.
func TestNoInformationalAnswerInHTTP10(t *testing.T) {
	address, _ := bridgeTo(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, whole)
	}))
	for protocol, want := range map[string][]int{"HTTP/1.0": {200}, "HTTP/1.1": {103, 200}} {
		for _, path := range []string{"/p/v1/messages", "/p/v1/messages/count_tokens"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(conn, "POST "+path+" "+protocol+"\r\nHost: x\r\nConnection: close\r\nContent-Length: "+strconv.Itoa(len(askWhole))+"\r\n\r\n"+askWhole)
			if err != nil {
				t.Fatal(err)
			}
			var statuses []int
			reader := bufio.NewReader(conn)
			for len(statuses) == 0 || statuses[len(statuses)-1] < 200 {
				response, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				statuses = append(statuses, response.StatusCode)
				_ = response.Body.Close()
			}
			_ = conn.Close()
			if len(statuses) != len(want) || statuses[0] != want[0] {
				t.Errorf("%s %s: statuses %v, want %v", protocol, path, statuses, want)
			}
		}
	}
}
