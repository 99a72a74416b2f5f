package aibridge

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/observe"
	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/internal/wire"
)

// retryNoRoom is when a client may come back that there was no room to record.
const retryNoRoom = 5 * time.Second

// exchange is one interception from its request to its end. It is the transport of its request's ReverseProxy: what it
// returns as the answer's body reads along while the proxy copies. It belongs to the handler's goroutine.
type exchange struct {
	ctx        context.Context // The request's; bodies are read without one.
	bridge     *RequestBridge
	client     *deadlineWriter
	to         destination
	format     *wire.Format
	credential credential
	id         uuid.UUID
	started    time.Time // With its monotonic reading, from which every later time is made.
	span       trace.Span

	request wire.Request
	header  http.Header // The client's.
	body    []byte      // As the client sent it, good until it has been sent on.
	sent    digest      // Of it.

	begun     Commit    // Of the start; nil once it is safe.
	answers   []*answer // The upstream's, one a round, in order.
	received  digest    // Of all of them.
	failure   *apierror.Error
	panicked  bool
	concluded *conclusion // Set once the rest is recorded.

	firstByte    time.Duration // From the start to the answer's first byte; zero: none came.
	sentAfter    time.Duration // From the start to the sending of the request: the gateway's own part.
	upstreamWait time.Duration // From there to the beginning of the upstream's answer.
}

// intercept serves one bridged request.
func (b *RequestBridge) intercept(w *deadlineWriter, r *http.Request, to destination) {
	ctx, span := b.options.Tracer.Start(r.Context(), "Intercept", to.provider.spanAttributes())
	defer span.End()
	x := &exchange{ctx: ctx, bridge: b, client: w, to: to, format: to.route.format, started: time.Now(), span: span}
	b.options.Metrics.began(to)

	body, err := x.read(w, r)
	if err == nil {
		err = x.begin(r)
	}
	if err != nil {
		x.refuse(w, r, err)
		return
	}
	defer func() {
		reason := recover()
		x.panicked = reason != nil && reason != http.ErrAbortHandler
		x.end()
		if reason != nil {
			panic(reason) // Whoever logs it still finds the stack below this.
		}
	}()
	b.relay(w, r.WithContext(ctx), relay{
		to:         to,
		body:       body,
		credential: x.credential,
		transport:  x,
		bridged:    true,
		fail: func(err error) {
			x.failure = apierror.From(err)
			if err := x.conclude(); err != nil {
				x.failure = unrecorded(err)
			}
			x.format.Shape.Write(w, r, x.failure)
		},
	})
}

// refuse answers a request that never became an interception.
func (x *exchange) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := apierror.From(err)
	x.bridge.options.Metrics.refused(x)
	x.bridge.options.Logger.Info(r.Context(), "request refused",
		slog.F("provider", x.to.provider.name), slog.F("status", refusal.Status), slog.Error(err))
	x.format.Shape.Write(w, r, refusal)
}

// read reads and inspects the request. It returns the body as it goes upstream.
func (x *exchange) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := readBody(w, r, x.to.provider.limits, x.bridge.providers.bodies)
	if err != nil {
		return nil, err
	}
	x.header, x.body = r.Header, body
	x.sent.add(body)
	plain, err := decodeRequest(r.Header, body, x.to.provider.limits.RequestBody)
	if err != nil {
		return nil, err
	}
	object, err := jsonedit.Parse(plain)
	if err != nil {
		return nil, &apierror.Error{Status: http.StatusBadRequest, Text: "request body: " + err.Error()}
	}
	if x.request, err = x.format.Inspect(object); err != nil {
		return nil, err
	}
	x.credential = credentialOf(r, x.to.provider)
	if err := x.credential.usable(x.to.provider); err != nil {
		return nil, err
	}
	if len(x.request.Edits) == 0 {
		return body, nil
	}
	// What is edited goes upstream without its coding: to encode it again would make other bytes anyway.
	r.Header = r.Header.Clone()
	r.Header.Del("Content-Encoding")
	return jsonedit.Splice(plain, x.request.Edits...)
}

// begin records the start, and what the person typed. Where that fails the request is refused: no record, no request.
func (x *exchange) begin(r *http.Request) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	x.id = id
	x.span.SetAttributes(
		attribute.String("interception.id", id.String()),
		attribute.String("gen_ai.request.model", x.request.Model),
	)
	actor, _ := ActorFromContext(x.ctx)
	client := recogniseClient(r.Header, x.request)
	records := []Record{&InterceptionStart{
		ID:                    id,
		InitiatorID:           actor.ID,
		APIKeyID:              x.bridge.options.APIKeyID,
		Provider:              x.to.provider.kind,
		ProviderName:          x.to.provider.name,
		Model:                 storable.Text(x.request.Model),
		Metadata:              actor.Metadata,
		StartedAt:             x.started,
		Client:                client.Name,
		ClientSessionID:       storable.Text(client.session(r.Header, x.request)),
		UserAgent:             storable.Text(r.UserAgent()),
		CorrelatingToolCallID: storable.Text(x.request.ToolResultID),
		CredentialKind:        x.credential.kind,
		CredentialHint:        storable.Text(x.credential.hint()),
		RequestBytes:          x.sent.bytes,
		RequestSHA256:         x.sent.sum(),
	}}
	if prompt := x.prompt(client); prompt != nil {
		records = append(records, prompt)
	}
	// A client that leaves now must not keep us from hearing that the start is stored: what has started must end.
	x.begun, err = x.bridge.recorder.Record(context.WithoutCancel(x.ctx), records...)
	if err != nil {
		return unrecorded(err)
	}
	x.bridge.options.Metrics.recorded(x, records)
	return nil
}

// unrecorded is the refusal of a request that cannot be recorded.
func unrecorded(err error) *apierror.Error {
	if errors.Is(err, ErrNoRoom) {
		return &apierror.Error{
			Status: http.StatusServiceUnavailable, Text: "there is no room for records at the moment", RetryAfter: retryNoRoom, Cause: err,
		}
	}
	return &apierror.Error{Status: http.StatusInternalServerError, Text: "the request could not be recorded", Cause: err}
}

// awaitStart waits until the start is safe, which it became while the upstream was at work.
func (x *exchange) awaitStart() error {
	if x.begun == nil {
		return nil
	}
	if err := x.begun.Wait(x.ctx); err != nil {
		return unrecorded(err)
	}
	x.begun = nil
	return nil
}

// RoundTrip sends the request upstream and returns the answer, read along. It is called once, by the proxy.
func (x *exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := x.bridge.options.Tracer.Start(r.Context(), "Intercept.Upstream")
	sent := time.Now()
	x.sentAfter = sent.Sub(x.started)
	response, err := x.send(r.WithContext(ctx))
	x.upstreamWait = time.Since(sent)
	x.body = nil // The transport may still send it, from its own reference.
	if err != nil {
		span.End()
		return nil, err
	}
	answer := &answer{
		span:     span,
		status:   response.StatusCode,
		coding:   codingOf(response.Header),
		isStream: x.isStream(response),
		tracker:  x.format.Track(),
	}
	x.answers = append(x.answers, answer)
	body := &rounds{x: x, answer: answer, body: response.Body}
	if err := x.awaitStart(); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	if !answer.isStream {
		if err := body.readWhole(response); err != nil {
			return nil, err
		}
		return response, nil
	}
	response.Body = body
	if x.request.Withhold != nil && !isCoded(answer.coding) {
		response.Body = &sieve{source: body, withhold: x.request.Withhold}
		response.ContentLength = -1
		response.Header.Del("Content-Length")
	}
	return response, nil
}

// send sends a request upstream, and tells those who watch what it is sent for.
func (x *exchange) send(r *http.Request) (*http.Response, error) {
	provider := x.to.provider
	if !provider.watched {
		return provider.transport.RoundTrip(r)
	}
	return observe.Send(provider.transport, r, observe.Interception{
		ID: x.id, Round: len(x.answers), Format: x.format.Name, Header: x.header, Body: x.body,
	})
}

// arrived notes the bytes of an answer that came next.
func (x *exchange) arrived(p []byte) {
	if x.firstByte == 0 {
		x.firstByte = time.Since(x.started)
	}
	x.received.add(p)
}

// isStream reports whether an answer is a stream of events. Where the upstream does not say, the request did.
func (x *exchange) isStream(response *http.Response) bool {
	contentType := response.Header.Get("Content-Type")
	if contentType == "" {
		return x.request.Stream && response.StatusCode < http.StatusBadRequest
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "text/event-stream"
}
