package aibridged

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/inproc"
)

// NewTransportFactory returns a factory whose transports pass their requests to handler without a connection. The
// handler should be a [Server] or the handler in which a host mounts it.
//
// The path /v1/messages of a request becomes [aibridge.RootPath]/<provider>/v1/messages; its scheme and host are
// ignored. The context of each request must hold the id of the API key to serve it as, from
// [aibridge.WithDelegatedAPIKeyID]; otherwise RoundTrip fails with [ErrNoAuthKey].
//
// To the client the transports are like net/http's own: bytes are readable as they are written, and cancelling the
// request's context cancels the handler, and so does closing the response's body before its end. A body that breaks off
// fails instead of ending: with [io.ErrUnexpectedEOF] where the handler aborted or wrote less than it declared, with
// the context's cause where the caller gave up. A handler that panics before it has written anything answers with 500
// and a body that fails.
func NewTransportFactory(handler http.Handler) aibridge.TransportFactory {
	return transportFactory{handler, aibridge.RootPath}
}

// NewTransportFactoryAt is [NewTransportFactory] for a handler that expects the gateway below another root than
// [aibridge.RootPath], for example http.StripPrefix(root, server). The root begins with a slash and does not end with
// one, or is empty; otherwise the factory has no transports.
func NewTransportFactoryAt(root string, handler http.Handler) aibridge.TransportFactory {
	return transportFactory{handler, root}
}

type transportFactory struct {
	handler http.Handler
	root    string
}

func (f transportFactory) TransportFor(providerName string, source aibridge.Source) (http.RoundTripper, error) {
	if f.handler == nil {
		return nil, errors.New("in-process transport: there is no handler")
	}
	if err := aibridge.CheckProviderName(providerName); err != nil {
		return nil, fmt.Errorf("in-process transport: %w", err)
	}
	if f.root != "" && (f.root[0] != '/' || strings.HasSuffix(f.root, "/")) {
		return nil, fmt.Errorf("in-process transport: root %q: it must begin with a slash and not end with one", f.root)
	}
	return &sourceTransport{
		source: source,
		served: inproc.New(f.handler, f.root+"/"+providerName),
	}, nil
}

// sourceTransport refuses requests that name no API key, and puts the source into their context.
type sourceTransport struct {
	source aibridge.Source
	served *inproc.Transport
}

func (t *sourceTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	if _, ok := aibridge.DelegatedAPIKeyIDFromContext(ctx); !ok {
		if request.Body != nil {
			_ = request.Body.Close() // RoundTrip must close the body, also where it fails.
		}
		return nil, fmt.Errorf("in-process request without a delegated API key id, which aibridge.WithDelegatedAPIKeyID puts into its context: %w", ErrNoAuthKey)
	}
	response, err := t.served.RoundTrip(request.WithContext(aibridge.WithSource(ctx, t.source)))
	if err != nil {
		return nil, err // Not wrapped: net/http's client recognises a timeout only on the error itself.
	}
	response.Request = request
	return response, nil
}
