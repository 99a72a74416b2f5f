package fakevertex

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// serveMessages has the upstream of the Messages API answer a request of Vertex.
func (s *Server) serveMessages(w http.ResponseWriter, r *http.Request, request Request) {
	path, _, _ := strings.Cut(request.URI, "?")
	model, method, ok := strings.Cut(path[strings.LastIndex(path, "/")+1:], ":")
	if !ok || !strings.Contains(path, "/publishers/anthropic/models/") {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":404,"message":"unknown method","status":"NOT_FOUND"}}`)
		return
	}
	fields := map[string]any{}
	_ = json.Unmarshal([]byte(request.Body), &fields) // The upstream says what is wrong.
	delete(fields, "anthropic_version")
	to := "/v1/messages"
	if model == "count-tokens" {
		to = "/v1/messages/count_tokens"
	} else {
		fields["model"], _ = url.PathUnescape(model)
		fields["stream"] = method == "streamRawPredict"
	}
	text, _ := json.Marshal(fields)
	out := r.Clone(r.Context())
	out.URL = &url.URL{Path: to}
	out.Header = http.Header{"X-Api-Key": {"the-key-of-vertex"}, "Content-Type": {"application/json"}}
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	w.Header().Del("Content-Type")
	s.Messages.ServeHTTP(w, out)
}
