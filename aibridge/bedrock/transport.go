package bedrock

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/memory"
)

// transport is the RoundTripper of a provider: it signs the requests that go with the gateway's credentials, and translates those of the
// Messages API where the upstream does not speak it. It is safe for concurrent use.
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
	body, err := t.read(r)
	if err != nil {
		return nil, err
	}
	defer t.memory.Forgo(body) // The network may still be sending it when the answer begins.
	path := strings.TrimPrefix(r.URL.EscapedPath(), t.base.EscapedPath())
	if t.invokes && path == "/v1/messages" {
		return t.invoke(r, body)
	}
	out := r.Clone(r.Context())
	if t.invokes && strings.HasPrefix(path, "/inference-profiles") {
		setURL(out.URL, t.control, path)
	}
	return t.send(out, body)
}

// read reads the body of a request into memory that the pool has lent.
func (t *transport) read(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	defer func() { _ = r.Body.Close() }()
	body, err := t.memory.Lend(0)
	if r.ContentLength > int64(cap(body)) && err == nil {
		body, err = t.memory.Grow(body, r.ContentLength)
	}
	if err != nil {
		t.memory.Forgo(body)
		return nil, noMemory(err)
	}
	for {
		if len(body) == cap(body) && int64(len(body)) != r.ContentLength {
			larger, err := t.memory.Grow(body, 0)
			if err != nil {
				t.memory.Forgo(body)
				return nil, noMemory(err)
			}
			body = larger
		}
		if int64(len(body)) == r.ContentLength {
			return body, nil
		}
		n, err := r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			t.memory.Forgo(body)
			return nil, err
		}
	}
}

// noMemory returns the refusal of a request of which there is no memory for a copy.
func noMemory(err error) *apierror.Error {
	if errors.Is(err, memory.ErrNever) {
		return &apierror.Error{
			Status: http.StatusRequestEntityTooLarge, Text: "request body too large for the memory that the gateway may use", Cause: err,
		}
	}
	return &apierror.Error{
		Status: http.StatusServiceUnavailable, Text: "the gateway has no memory for another request of this size at the moment: try again",
		RetryAfter: time.Second, Cause: err,
	}
}

// send authenticates a request, which is the transport's own, and sends it with that body. The signature is made for this
// one sending.
func (t *transport) send(out *http.Request, body []byte) (*http.Response, error) {
	out.Body, out.GetBody, out.ContentLength = http.NoBody, nil, int64(len(body))
	if len(body) > 0 {
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		out.Body, _ = out.GetBody()
	}
	out.Host = ""
	if t.invokes {
		// A coded stream would be held back until its coder has enough of it.
		out.Header.Set("Accept-Encoding", "identity")
	}
	if err := t.authenticate(out, body); err != nil {
		return nil, err
	}
	return t.next.RoundTrip(out)
}

// authenticate signs a request that goes with the gateway's credentials. Any other one goes with what its caller brings.
func (t *transport) authenticate(out *http.Request, body []byte) error {
	if _, ok := out.Header[credential.Sign]; ok {
		delete(out.Header, credential.Sign)
		return t.sign(out, body)
	}
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

// setURL makes target the address of an escaped path below base. The query stays.
func setURL(target, base *url.URL, escapedPath string) {
	target.Scheme, target.Host = base.Scheme, base.Host
	path, err := url.PathUnescape(escapedPath)
	if err != nil {
		path = escapedPath // It cannot happen: the path was judged, or made here.
	}
	target.Path, target.RawPath = base.Path+path, base.EscapedPath()+escapedPath
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
