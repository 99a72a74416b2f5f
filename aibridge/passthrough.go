package aibridge

import (
	"context"
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
	shape := to.provider.shapeOf(to.path)
	read, err := b.readPassed(ctx, w, r, &to, caller)
	with, keyed, body, turn := read.with, read.keyed, read.body, read.turn
	if err != nil {
		refusal := refusal(err, caller.tokens())
		b.tellRefused(ctx, r, to.provider, refusal.Status, refusal)
		shape.Write(w, r, refusal)
		return
	}
	defer body.forgo() // The transport may still be sending it.
	defer func() {
		b.options.Logger.Info(ctx, "request passed through",
			slog.F("initiator_id", caller.Actor.ID), slog.F("api_key_id", b.options.APIKeyID), slog.F("provider", to.provider.name),
			slog.F("method", r.Method), slog.F("route", to.route.path), slog.F("status", w.status), slog.F("duration", time.Since(began)))
	}()
	hidden := secrets{caller.tokens(), with.key}
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

// passedRequest is a request that is to be passed through.
type passedRequest struct {
	with  upstreamCredential
	keyed keyed
	body  *body
	turn  []byte // What was kept of the answer that its path names; nil: nothing.
}

// readPassed reads a request that is to be passed through, and chooses the credential that it goes with: that is one for the
// path that goes upstream, which may name another response than the client knows, of another account. The error is an
// *[apierror.Error], or one around it.
func (b *RequestBridge) readPassed(ctx context.Context, w *clientWriter, r *http.Request, to *destination, caller Caller) (read passedRequest, err error) {
	if read.with, err = to.provider.credentialFor(r.Header, caller); err != nil {
		return read, err
	}
	if read.body, err = readBody(w, r, to.provider.limits, to.provider.memory); err != nil {
		return read, err
	}
	to.path, read.turn = b.lastRoundsPath(ctx, *to, caller.Actor.ID)
	read.keyed.pool = to.provider.poolFor(read.with)
	if err = read.keyed.chooseFor(ctx, *to, codingOf(r.Header), read.body); err != nil {
		read.body.release()
		return read, err
	}
	if read.keyed.pool != nil {
		read.with.use(read.keyed.choice)
	}
	return read, nil
}
