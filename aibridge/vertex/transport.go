package vertex

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/upstream"
)

// anthropicVersion is the only version that Vertex has.
const anthropicVersion = `"vertex-2023-10-16"`

// transport is the RoundTripper of a provider: it adds an access token to the requests that go with the gateway's
// credentials, and translates those of the Messages API. Answers need no translation. It is safe for concurrent use.
type transport struct {
	base            *url.URL
	project, region string
	models          map[string]string
	source          oauth2.TokenSource // Nil: no request gets a token.
	memory          *memory.Pool
	network         http.RoundTripper
	next            http.RoundTripper   // The network, with a limit of silence: the beginning of an error is read here.
	tokens          *upstream.Transport // To where tokens come from.
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	switch strings.TrimPrefix(r.URL.EscapedPath(), t.base.EscapedPath()) {
	case "/messages", "/messages/count_tokens":
		body, err := upstream.ReadBody(r, t.memory)
		if err != nil {
			return nil, err
		}
		defer t.memory.Forgo(body) // The network may still be sending it when the answer begins.
		edited, err := t.translate(out, body)
		if err != nil {
			return nil, err
		}
		size := int64(len(edited))
		if err := t.memory.Take(size); err != nil {
			return nil, upstream.NoMemory(err)
		}
		defer t.memory.Give(size)
		upstream.SetBody(out, edited)
	}
	token, err := t.authenticate(out)
	if err != nil {
		return nil, err
	}
	answer, err := t.next.RoundTrip(out)
	if err == nil && token != "" {
		upstream.HideEchoes(answer, []string{token})
	}
	return answer, err
}

// authenticate adds an access token to a request that goes with the gateway's credentials, and returns it. Any other one goes
// with what its caller brings.
func (t *transport) authenticate(out *http.Request) (token string, err error) {
	if _, ok := out.Header[credential.Sign]; ok {
		delete(out.Header, credential.Sign)
		token, err := t.source.Token()
		if err != nil {
			return "", &apierror.Error{Status: http.StatusBadGateway, Text: "the gateway has no Google credentials at the moment", Cause: err}
		}
		token.SetAuthHeader(out)
		return token.AccessToken, nil
	}
	if key := out.Header.Get("X-Api-Key"); key != "" && out.Header.Get("Authorization") == "" { // Clients of the Messages API send it so.
		out.Header.Del("X-Api-Key")
		out.Header.Set("Authorization", "Bearer "+key)
	}
	return "", nil
}

// translate makes a request of the Messages API one of Vertex, and returns the body for it. To count tokens, the model stays
// in the body.
func (t *transport) translate(out *http.Request, body []byte) ([]byte, error) {
	object, err := jsonedit.Parse(body)
	if err != nil {
		return nil, &apierror.Error{Status: http.StatusBadRequest, Text: "request body: " + err.Error()}
	}
	value, _ := object.Get("model")
	asked, _ := jsonedit.String(value)
	model := cmp.Or(t.models[asked], asked)
	segment, ok := upstream.ModelSegment(model)
	if !ok {
		return nil, &apierror.Error{Status: http.StatusBadRequest, Text: "model: Vertex needs the name of one"}
	}
	if _, ok := object.Get("messages"); !ok {
		return nil, &apierror.Error{Status: http.StatusBadRequest, Text: "messages: Vertex needs them, and keeps no threads"}
	}
	if t.project == "" {
		return nil, &apierror.Error{Status: http.StatusForbidden, Text: "the gateway knows no project for requests of the Messages API: ask its operator for one"}
	}
	upstream.Tell(out.Context(), upstream.Sent{Model: model})
	var edits []jsonedit.Edit
	method := "count-tokens:rawPredict"
	if strings.HasSuffix(out.URL.Path, "/count_tokens") {
		name, err := json.Marshal(model)
		if err != nil {
			return nil, err // Strings always marshal.
		}
		edits = append(edits, object.Set("model", name))
	} else {
		edits = object.Without("model")
		method = segment + ":rawPredict"
		if stream, _ := object.Get("stream"); string(stream) == "true" {
			method = segment + ":streamRawPredict"
		}
	}
	if _, ok := object.Get("anthropic_version"); !ok {
		edits = append(edits, object.Set("anthropic_version", []byte(anthropicVersion)))
	}
	upstream.SetURL(out, t.base, "/projects/"+t.project+"/locations/"+t.region+"/publishers/anthropic/models/"+method)
	out.URL.RawQuery = ""
	out.Header.Del("Anthropic-Version") // It is in the body.
	return jsonedit.Splice(body, edits...)
}

// CloseIdleConnections closes the connections that no request uses.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.network.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
	t.tokens.CloseIdleConnections()
}
