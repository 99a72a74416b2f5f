package aibridge

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/upstream"
)

// passThrough relays a request without recording it.
func (b *RequestBridge) passThrough(w http.ResponseWriter, r *http.Request, to destination) {
	ctx, span := b.options.Tracer.Start(r.Context(), "Passthrough", to.provider.spans)
	defer span.End()
	b.options.Metrics.passedThrough(to)

	shape := apierror.ForPath(r.URL.Path)
	caller := CallerFromContext(ctx)
	with, err := to.provider.credentialFor(r.Header, caller)
	if err != nil {
		shape.Write(w, r, apierror.From(err))
		return
	}
	hidden := secrets{caller.tokens(), with.key}
	body, err := readBody(w, r, to.provider.limits, to.provider.memory)
	if err != nil {
		shape.Write(w, r, apierror.From(err))
		return
	}
	defer body.forgo() // The transport may still be sending it.
	r = r.WithContext(ctx)
	r.GetBody = func() (io.ReadCloser, error) { return body.reader(), nil }
	r.Body, r.ContentLength, r.TransferEncoding, r.Trailer = body.reader(), int64(len(body.bytes)), nil, nil
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL = to.provider.upstreamURL(to.path, credential.Query(pr.Out.URL.RawQuery, hidden.tokens))
			pr.Out.Host = ""
			pr.Out.Header, pr.Out.Trailer = with.forward(r.Header, to.provider), nil
		},
		Transport: upstream.BareInformational(to.provider.transport),
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			failure := apierror.From(err)
			if ctx.Err() == nil {
				b.options.Logger.Warn(ctx, "upstream failed on a passed-through route",
					slog.F("provider", to.provider.name), slog.F("status", failure.Status), slog.F("cause", hidden.redact(failure.Error())))
			}
			shape.Write(w, r, failure)
		},
		BufferPool: b.providers.copies,
		ErrorLog:   log.New(io.Discard, "", 0), // ErrorHandler logs the failures.
	}
	withoutSniffing(w.Header())
	proxy.ServeHTTP(w, r)
}
