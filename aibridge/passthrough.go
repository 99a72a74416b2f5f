package aibridge

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/ingress"
	"github.com/coder/aibridged/internal/keys"
	"github.com/coder/aibridged/internal/upstream"
)

// passThrough relays a request without an interception of its own, and writes one line to the log.
func (b *RequestBridge) passThrough(w *clientWriter, r *http.Request, to destination) {
	ctx, span := b.options.Tracer.Start(ingress.ContinueTrace(r.Context(), r.Header), "Passthrough", to.provider.spans.serving...)
	isWhole := false
	defer func() { endPassthrough(ctx, span, w, isWhole) }()
	b.options.Metrics.passedThrough(to)
	caller := CallerFromContext(ctx)
	began := time.Now()
	defer func() {
		b.options.Logger.Info(ctx, "request passed through",
			slog.F("initiator_id", caller.Actor.ID), slog.F("api_key_id", b.options.APIKeyID), slog.F("provider", to.provider.name),
			slog.F("method", r.Method), slog.F("route", to.route.path), slog.F("status", w.status), slog.F("duration", time.Since(began)))
	}()

	shape := to.provider.shape
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
	keyed := keyed{pool: to.provider.poolFor(with)}
	if err := keyed.chooseFor(ctx, to, codingOf(r.Header), body); err != nil {
		shape.Write(w, r, apierror.From(err))
		return
	}
	with.use(keyed.choice)
	hidden.key = with.key
	var turn []byte
	to.path, turn = b.lastRoundsPath(ctx, to, caller.Actor.ID)
	target, err := to.provider.upstreamURL(to.path, credential.Query(r.URL.RawQuery, hidden.tokens), "")
	if err != nil {
		shape.Write(w, r, apierror.From(err))
		return
	}
	learns := keyed.learnsCreated(to.route)
	r = r.WithContext(ctx)
	r.GetBody = func() (io.ReadCloser, error) { return body.reader(), nil }
	r.Body, r.ContentLength, r.TransferEncoding, r.Trailer = body.reader(), int64(len(body.bytes)), nil, nil
	header := func() http.Header {
		out := with.forward(ctx, r.Header, to.provider, sentRequest{})
		if to.route.stored != nil || turn != nil || learns {
			delete(out, "Accept-Encoding") // A coded answer would have to be decoded to be read.
		}
		return out
	}
	transport := http.RoundTripper(upstream.BareInformational(to.provider.transport))
	if keyed.pool != nil {
		transport = keyedTransport{next: transport, keyed: &keyed, used: func(verdict keys.Verdict) {
			b.tellOfKey(ctx, to.provider, with, verdict)
			with.use(keyed.choice)
			hidden.key = with.key
		}, header: header}
	}
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL = target
			pr.Out.Host = ""
			pr.Out.Header, pr.Out.Trailer = header(), nil
		},
		Transport: transport,
		ModifyResponse: func(answer *http.Response) error {
			to.provider.echoes.hide(answer, with.kind)
			withoutOriginsOfUpstream(w.Header(), answer.Header)
			withoutHalves(answer)
			if to.route.stored != nil {
				of := &storedResponse{bridge: b, ctx: ctx, to: to, secrets: hidden, learning: keyed.learnFrom(answer.StatusCode)}
				if err := of.follow(answer); err != nil {
					return err
				}
			}
			if learns {
				keyed.followCreated(answer)
			}
			if turn == nil {
				return nil
			}
			return showAsSeen(answer, turn, to.provider.memory)
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			failure := apierror.From(err)
			if ctx.Err() == nil {
				b.options.Logger.Warn(ctx, "a passed-through request failed",
					slog.F("provider", to.provider.name), slog.F("status", failure.Status), slog.F("cause", hidden.redact(failure.Error())))
			}
			shape.Write(w, r, failure)
		},
		BufferPool: b.providers.copies,
		ErrorLog:   log.New(io.Discard, "", 0), // ErrorHandler logs the failures.
	}
	withoutSniffing(w.Header())
	proxy.ServeHTTP(w, r)
	isWhole = w.failed == nil
}
