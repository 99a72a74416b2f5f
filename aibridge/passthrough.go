package aibridge

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/apierror"
)

// passThrough relays a request without recording it.
func (b *RequestBridge) passThrough(w http.ResponseWriter, r *http.Request, to destination) {
	ctx, span := b.options.Tracer.Start(r.Context(), "Passthrough", to.provider.spanAttributes())
	defer span.End()
	b.options.Metrics.passedThrough(to)

	shape := apierror.ForPath(r.URL.Path)
	body, err := readBody(w, r, to.provider.limits, b.providers.bodies)
	if err != nil {
		shape.Write(w, r, apierror.From(err))
		return
	}
	credential := credentialOf(r, to.provider)
	if err := credential.usable(to.provider); err != nil {
		shape.Write(w, r, apierror.From(err))
		return
	}
	b.relay(w, r.WithContext(ctx), relay{
		to:         to,
		body:       body,
		credential: credential,
		transport:  to.provider.transport,
		fail: func(err error) {
			failure := apierror.From(err)
			if ctx.Err() == nil {
				b.options.Logger.Warn(ctx, "upstream failed on a passed-through route",
					slog.F("provider", to.provider.name), slog.F("status", failure.Status), slog.Error(err))
			}
			shape.Write(w, r, failure)
		},
	})
}

// relay is one request's way through ReverseProxy.
type relay struct {
	to         destination
	body       []byte // From the bridge's buffers, or of its own.
	credential credential
	transport  http.RoundTripper
	// bridged says that the answer is read along, and must therefore be asked for in plain.
	bridged bool
	// fail answers the client where the upstream did not.
	fail func(error)
}

// relay sends a request upstream and copies the answer. There is no GetBody, without which net/http does not send a
// request a second time once its body has gone.
func (b *RequestBridge) relay(w http.ResponseWriter, r *http.Request, relay relay) {
	body := newSentBody(relay.body, b.providers.bodies)
	defer body.Close()
	r = r.WithContext(r.Context())
	r.Body, r.ContentLength, r.TransferEncoding = body, int64(len(relay.body)), nil
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			rewriteRequest(pr, relay.to, relay.credential)
			if relay.bridged {
				pr.Out.Header.Del("Accept-Encoding")
			}
		},
		Transport:    relay.transport,
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { relay.fail(err) },
		BufferPool:   b.providers.copies,
		ErrorLog:     log.New(io.Discard, "", 0), // What it would say is in the interception's own line.
	}
	proxy.ServeHTTP(w, r)
}
