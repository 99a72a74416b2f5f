package fakebedrock

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// serveMessages has the upstream of the Messages API answer a request for InvokeModel, and makes frames of its stream.
func (s *Server) serveMessages(w http.ResponseWriter, r *http.Request, request Request) {
	path, _, _ := strings.Cut(request.URI, "?")
	w.Header().Set("Content-Type", "application/json")
	if strings.HasPrefix(path, "/inference-profiles") {
		_, _ = io.WriteString(w, `{"inferenceProfileSummaries":[]}`)
		return
	}
	segments := strings.Split(path, "/")
	if len(segments) != 4 || segments[1] != "model" {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"message":"unknown operation"}`)
		return
	}
	model, _ := url.PathUnescape(segments[2])
	if segments[3] == "count-tokens" {
		s.countTokens(w, r, request, model)
		return
	}
	streams := segments[3] == "invoke-with-response-stream"
	answer := &framedAnswer{client: w, streams: streams}
	s.options.Messages.ServeHTTP(answer, messagesRequest(r, "/v1/messages", []byte(request.Body), model, streams))
}

// messagesRequest returns a request of the Messages API with the content of one for InvokeModel.
func messagesRequest(r *http.Request, path string, body []byte, model string, stream bool) *http.Request {
	fields := map[string]any{}
	_ = json.Unmarshal(body, &fields) // The upstream says what is wrong.
	delete(fields, "anthropic_version")
	delete(fields, "anthropic_beta")
	fields["model"], fields["stream"] = model, stream
	text, _ := json.Marshal(fields)
	out := r.Clone(r.Context())
	out.URL = &url.URL{Path: path}
	out.Header = http.Header{"X-Api-Key": {"the-key-of-bedrock"}, "Content-Type": {"application/json"}}
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	return out
}

func (s *Server) countTokens(w http.ResponseWriter, r *http.Request, request Request, model string) {
	var asked struct {
		Input struct {
			InvokeModel struct {
				Body []byte `json:"body"`
			} `json:"invokeModel"`
		} `json:"input"`
	}
	_ = json.Unmarshal([]byte(request.Body), &asked)
	var counted bytes.Buffer
	s.options.Messages.ServeHTTP(&framedAnswer{client: discarding{&counted}}, messagesRequest(r, "/v1/messages/count_tokens", asked.Input.InvokeModel.Body, model, false))
	var tokens struct {
		Input int `json:"input_tokens"`
	}
	_ = json.Unmarshal(counted.Bytes(), &tokens)
	_ = json.NewEncoder(w).Encode(map[string]int{"inputTokens": tokens.Input})
}

// discarding is a ResponseWriter that keeps only the body.
type discarding struct{ io.Writer }

func (discarding) Header() http.Header { return http.Header{} }
func (discarding) WriteHeader(int)     {}

// framedAnswer turns an answer of the Messages API into one of InvokeModel.
type framedAnswer struct {
	client  http.ResponseWriter
	streams bool

	header http.Header
	begun  bool
	failed bool
	rest   []byte // Of an event that has not ended.
}

func (a *framedAnswer) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *framedAnswer) WriteHeader(status int) {
	if a.begun {
		return
	}
	a.begun, a.failed = true, status >= http.StatusBadRequest
	switch {
	case status == http.StatusTooManyRequests:
		a.client.Header().Set("X-Amzn-Errortype", "ThrottlingException")
	case a.failed:
		a.client.Header().Set("X-Amzn-Errortype", "ValidationException")
	case a.streams:
		a.client.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	}
	a.client.WriteHeader(status)
}

func (a *framedAnswer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.failed {
		var said struct{ Error struct{ Message string } }
		_ = json.Unmarshal(p, &said)
		return len(p), json.NewEncoder(a.client).Encode(map[string]string{"message": said.Error.Message})
	}
	if !a.streams {
		return a.client.Write(p)
	}
	a.rest = append(a.rest, p...)
	for {
		event, rest, ok := bytes.Cut(a.rest, []byte("\n\n"))
		if !ok {
			return len(p), nil
		}
		a.rest = rest
		_, data, _ := strings.Cut(string(event), "data: ")
		if strings.Contains(string(event), "event: ping") || data == "" {
			continue // Bedrock has none.
		}
		if _, err := a.client.Write(Frame{Event: data}.Encode()); err != nil {
			return 0, err
		}
	}
}

func (a *framedAnswer) Flush() { _ = http.NewResponseController(a.client).Flush() }
