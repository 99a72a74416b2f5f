package bedrock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/upstream"
)

// transport is the RoundTripper of a provider: it signs the requests that go with the gateway's credentials, and
// translates those of the Messages API where the upstream does not speak it. It is safe for concurrent use.
type transport struct {
	base, control   *url.URL
	region, service string
	invokes         bool // The upstream is InvokeModel.
	models          map[string]string
	betas           []string
	credentials     *source // Nil: no request is signed.
	signer          *v4.Signer
	memory          *memory.Pool
	network         http.RoundTripper
	next            http.RoundTripper // The network, guarded.
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), t.base.EscapedPath())
	translates := t.invokes && path == "/v1/messages"
	out := r.Clone(r.Context())
	if t.invokes && strings.HasPrefix(path, "/inference-profiles") {
		upstream.SetURL(out, t.control, path)
	}
	if _, signs := r.Header[credential.Sign]; !signs && !translates {
		return t.send(out, nil)
	}
	body, err := upstream.ReadBody(r, t.memory)
	if err != nil {
		return nil, err
	}
	defer t.memory.Forgo(body) // The network may still be sending it when the answer begins.
	if translates {
		return t.invoke(out, body)
	}
	upstream.SetBody(out, body)
	return t.send(out, body)
}

// send authenticates a request, which is the transport's own, and sends it. The signature is made for this one sending. Body
// is what the request has as its body, and is only needed if it is to be signed.
func (t *transport) send(out *http.Request, body []byte) (*http.Response, error) {
	if t.invokes {
		// A coded stream would be held back until its coder has enough of it.
		out.Header.Set("Accept-Encoding", "identity")
	}
	_, isSigned := out.Header[credential.Sign]
	if isSigned {
		delete(out.Header, credential.Sign)
		if err := t.sign(out, body); err != nil {
			return nil, err
		}
	} else if err := t.readCredential(out); err != nil {
		if out.Body != nil {
			_ = out.Body.Close() // The request is refused in any case.
		}
		return nil, err
	}
	answer, err := t.next.RoundTrip(out)
	if token := out.Header.Get("X-Amz-Security-Token"); err == nil && token != "" && isSigned {
		upstream.HideEchoes(answer, []string{token}) // AWS repeats what it finds wrongly signed.
	}
	return answer, err
}

// readError reads the body of an error, and closes it.
func readError(answer *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostError))
	if closed := answer.Body.Close(); err == nil {
		err = closed
	}
	return body, err
}

// readCredential makes the credential that the caller brings one that Bedrock reads.
func (t *transport) readCredential(out *http.Request) error {
	authorization, key := out.Header.Get("Authorization"), out.Header.Get("X-Api-Key")
	switch {
	case strings.HasPrefix(authorization, "AWS4-"):
		return &apierror.Error{
			Status: http.StatusForbidden,
			Text:   "an AWS signature that was made for the gateway's address is not valid at AWS: bring a Bedrock API key, or let the gateway sign",
		}
	case authorization == "" && key != "" && t.invokes: // Clients of the Messages API send their keys so.
		out.Header.Del("X-Api-Key")
		out.Header.Set("Authorization", "Bearer "+key)
	}
	return nil
}

// sign signs a request. Of its headers only those are signed that AWS reads: the others may change on the way, and then the
// signature would be wrong.
func (t *transport) sign(out *http.Request, body []byte) error {
	ctx, cancel := context.WithTimeout(out.Context(), mostFetch)
	defer cancel()
	credentials, err := t.credentials.Retrieve(ctx)
	if err != nil {
		return &apierror.Error{Status: http.StatusBadGateway, Text: "the gateway has no AWS credentials at the moment", Cause: err}
	}
	signed := &http.Request{Method: out.Method, URL: cloneURL(out.URL), Header: http.Header{}, ContentLength: out.ContentLength}
	for name, values := range out.Header {
		if name == "Content-Type" || strings.HasPrefix(name, "X-Amz-") || strings.HasPrefix(name, "X-Amzn-Bedrock-") {
			signed.Header[name] = values
		}
	}
	digest := sha256.Sum256(body)
	if err := t.signer.SignHTTP(ctx, credentials, signed, hex.EncodeToString(digest[:]), t.service, t.region, time.Now()); err != nil {
		return &apierror.Error{Status: http.StatusInternalServerError, Text: "the request could not be signed", Cause: err}
	}
	for name, values := range signed.Header {
		out.Header[name] = values
	}
	return nil
}

func cloneURL(u *url.URL) *url.URL {
	clone := *u
	return &clone
}

// CloseIdleConnections closes the connections that no request uses.
func (t *transport) CloseIdleConnections() {
	if closer, ok := t.network.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
	if t.credentials != nil && t.credentials.network != nil {
		t.credentials.network.CloseIdleConnections()
	}
}
