package aibridge

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/breaker"
	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/ingress"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/observe"
	"github.com/coder/aibridged/internal/upstream"
)

// relay is one bridged request while it is served. It belongs to the handler's goroutine, which alone writes to the
// client.
type relay struct {
	*interception

	ctx        context.Context // The request's, with the interception's span.
	client     *clientWriter
	request    *http.Request
	to         destination
	target     *url.URL // Where it goes.
	keyed      keyed
	pass       pass
	plain      bool // The body goes upstream without the content coding that it came in.
	initiator  string
	sender     *client        // See recognised.
	asked      *BudgetRequest // What it asks of budgets. Nil: nobody has one.
	clientBody *body          // What the client sent; held until it has been sent on.
	outgoing   outgoing       // What goes upstream; often the client's.
	bodies     [2]*body       // All bodies that a transport may hold for longer than the request lasts.
	failure    *apierror.Error
	sent       sentEnd // Only of a provider that is silent.
	frames     asFrames

	tools     *toolUse        // Nil: the model is offered no tools of the gateway.
	plainBody *body           // What the client sent, uncoded; held if tools change it.
	toolEdits []jsonedit.Edit // What tools change in it for the present round.

	isLarge bool   // The body is large, once decoded.
	turn    func() // Ends that turn; nil: it has ended.
}

// intercept serves one bridged request, from the first byte of its body to the last of its answer.
func (b *RequestBridge) intercept(w *clientWriter, r *http.Request, to destination) {
	ctx, span := b.options.Tracer.Start(ingress.ContinueTrace(r.Context(), r.Header), "Intercept", to.provider.spans.serving...)
	defer span.End()
	b.options.Metrics.began(to)
	defer b.options.Metrics.over(to)
	x := &relay{
		interception: &interception{bridge: b, provider: to.provider, format: to.route.format, started: time.Now(), span: span},
		ctx:          ctx, client: w, request: r, to: to,
	}
	defer x.letGo()
	defer x.closeTools()
	defer x.endTurn()
	caller := CallerFromContext(ctx)
	x.initiator = caller.Actor.ID
	x.secrets.tokens = caller.tokens()
	defer func() { x.pass.leave() }()
	defer func() { x.settleBudget(BudgetEnding{}) }() // Only if it was not sent.
	if err := x.accept(caller); err != nil {
		x.refuse(err)
		return
	}
	defer x.close()
	defer x.forgo()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

// serve sends the request upstream and copies its answer. If it fails, fail tells the client.
func (x *relay) serve() error {
	if err := x.settle(); err != nil {
		return err
	}
	if x.tools != nil {
		return x.serveRounds()
	}
	answer, err := x.ask()
	if err != nil {
		return err
	}
	x.letGo() // Nothing is sent again, so a stream that lasts for minutes need not hold its request.
	return x.answer(answer)
}

// ask sends the request, and once more without what the gateway has put into it if the upstream refuses that: to be asked for
// its usage, or a tool.
func (x *relay) ask() (*http.Response, error) {
	withdrawn := false
	for {
		answer, err := x.send()
		switch {
		case err != nil:
			return nil, err
		case !withdrawn && x.refusedUsage(answer):
			withdrawn = true
			err = x.withdrawUsage()
		case x.refusedTool(answer):
			x.offer()
			err = x.rewrite(slices.Concat(x.tools.offered, x.tools.rest))
		default:
			if withdrawn && answer.StatusCode < http.StatusMultipleChoices { // Else it was not our member that was refused.
				x.provider.refusing.add(x.inspected.Model)
			}
			return answer, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// accept reads the request and records its start.
func (x *relay) accept(caller Caller) error {
	err := x.enter(caller.Actor.ID)
	if err != nil {
		return err
	}
	if x.clientBody, err = readBody(x.client, x.request, x.provider.limits, x.provider.memory); err != nil {
		return err
	}
	coding := codingOf(x.request.Header)
	if x.turn, err = x.provider.memory.Turn(x.ctx, contentcoding.Expected(coding, x.clientBody.bytes)); err != nil {
		return noTurn(err)
	}
	if err := x.inspect(coding, caller); err != nil {
		return err
	}
	beginning := x.beginning(caller)
	if err := x.chooseKey(beginning.session); err != nil {
		return err
	}
	if x.id, err = uuid.NewV7(); err != nil {
		return err
	}
	if err := x.reserve(); err != nil {
		return err
	}
	err = x.begin(x.ctx, beginning)
	x.inspected.Prompt = nil // It has been recorded, and can be as large as the body.
	return err
}

// settle ends the request's turn. The record of a large request can be as large as its body; settle waits until it is
// safe, since many of these in one sync would keep all others waiting.
func (x *relay) settle() error {
	defer x.endTurn()
	if x.isLarge {
		return x.awaitStart(x.ctx)
	}
	return nil
}

func (x *relay) endTurn() {
	if x.turn != nil {
		x.turn()
		x.turn = nil
	}
}

// inspect reads what the request asks for, and makes the body that goes upstream.
func (x *relay) inspect(coding string, caller Caller) error {
	plain, err := decodeBody(coding, x.clientBody, x.provider.limits.RequestBody)
	if err != nil {
		return err
	}
	defer plain.release()
	x.isLarge = len(plain.bytes) > memory.Large
	object, err := jsonedit.Parse(plain.bytes)
	if err != nil {
		return &apierror.Error{Status: http.StatusBadRequest, Text: "request body: " + err.Error()}
	}
	if x.inspected, err = x.format.Inspect(object); err != nil {
		return err
	}
	if x.format.CacheTTL != nil {
		x.inspected.CacheTTL = x.format.CacheTTL(object)
	}
	x.redactNames()
	x.readBounds(object, plain)
	if x.credential, err = x.provider.credentialFor(x.request.Header, caller); err != nil {
		return err
	}
	x.secrets.key = x.credential.key
	if x.target, err = x.provider.upstreamURL(x.to.path, credential.Query(x.request.URL.RawQuery, x.secrets.tokens), x.inspected.Model); err != nil {
		return err
	}
	if x.provider.usageInStreams == UsageNever || x.provider.refusing.has(x.inspected.Model) {
		x.inspected.Edits, x.inspected.Withhold = nil, nil
	}
	x.toolEdits = x.useTools(object)
	if x.keyed.pool = x.provider.poolFor(x.credential); x.keyed.pool != nil {
		x.keyed.ask.Model = x.inspected.Model
		if x.keyed.pool.Len() > 1 {
			x.keyed.ask = askFor(x.keyed.pool, x.inspected.Model, object, plain.bytes, x.toolEdits)
		}
	}
	x.bodies = [...]*body{x.clientBody, plain}
	if len(x.inspected.Edits)+len(x.toolEdits) == 0 {
		x.outgoing = unchanged(x.clientBody)
		return nil
	}
	if len(x.toolEdits) > 0 {
		plain.hold()
		x.plainBody = plain
	}
	x.outgoing, err = edited(plain, slices.Concat(x.inspected.Edits, x.toolEdits))
	// An edited body goes upstream without its content coding: to encode it again would not give the client's bytes
	// either.
	x.plain = true
	return err
}

// recognised returns the client that sent the request, once it has been inspected.
func (x *relay) recognised() *client {
	if x.sender == nil {
		x.sender = recogniseClient(x.request.Header, x.inspected)
	}
	return x.sender
}

// beginning returns what the record of the start says about the request.
func (x *relay) beginning(caller Caller) beginning {
	client := x.recognised()
	sum := newBodySum(x.provider.digests)
	sum.add(x.clientBody.bytes)
	x.received = newBodySum(x.provider.digests)
	return beginning{
		caller: caller, client: client, session: x.secrets.tokens.Redact(client.session(x.request.Header, x.inspected)),
		userAgent: x.request.UserAgent(), agent: subAgent(x.request.Header, x.secrets.tokens), body: sum,
	}
}

// refuse answers a request that never became an interception.
func (x *relay) refuse(err error) {
	refusal := refusal(err, x.secrets.tokens)
	if !errors.Is(err, errQuiet) {
		x.bridge.tellRefused(x.ctx, x.request, x.provider, refusal.Status, refusal)
	}
	x.format.Shape.Write(x.client, x.request, refusal)
}

// sendOnce sends the request upstream, and returns when the answer begins.
func (x *relay) sendOnce() (*http.Response, error) {
	ctx, span := x.bridge.options.Tracer.Start(x.ctx, "Intercept.Upstream", x.provider.spans.asking...)
	sending := sending{client: x.client, body: x.outgoing}
	out := x.upstreamRequest(sending.follow(ctx))
	out.GetBody = sending.again
	sent := time.Now()
	if x.sentAfter == 0 {
		x.sentAfter = sent.Sub(x.started)
	}
	response, err := x.provider.breakerOf(x.to.route).Send(ctx, func() (*http.Response, error) { return x.withStatus(x.sendExcused(out)) })
	x.bridge.tellOfBreaker(x.ctx, x.to)
	x.upstreamWait = time.Since(sent)
	sending.answered()
	if err != nil {
		err = opened(err)
		x.endUnanswered(span, err)
		return nil, err
	}
	round := x.answered(answerHead{status: response.StatusCode, coding: codingOf(response.Header), span: span})
	round.learning = x.keyed.learnFrom(response.StatusCode)
	return response, nil
}

// sendExcused sends a request. An error that is not the upstream's is excused for the breaker: one of the gateway, which has
// refused to send the request, or a redirect.
func (x *relay) sendExcused(out *http.Request) (*http.Response, error) {
	answer, err := x.roundTrip(out)
	if err != nil && !upstream.Failed(err) {
		err = breaker.Excuse(err)
	}
	return answer, err
}

// roundTrip sends a request. If the transport is watched, it says which interception the request belongs to.
func (x *relay) roundTrip(out *http.Request) (*http.Response, error) {
	if x.provider.rewrites {
		out = out.WithContext(upstream.WithSent(out.Context(), &x.rewritten))
	}
	if !x.provider.watched {
		return x.provider.transport.RoundTrip(out)
	}
	return observe.Send(x.provider.transport, out, observe.Interception{
		ID: x.id, Round: len(x.rounds), Format: x.format.Name, Path: x.to.path, Header: x.request.Header, Body: x.clientBody.bytes,
	})
}

// isOfFirstRound reports whether a header is about one request or its answer: the request of another round is another one.
func isOfFirstRound(name string) bool {
	switch strings.ToLower(name) {
	case "idempotency-key", "x-idempotency-key", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "range":
		return true
	}
	return false
}

// upstreamRequest returns the request that goes upstream.
func (x *relay) upstreamRequest(ctx context.Context) *http.Request {
	of := sentRequest{later: x.isLater()}
	if x.plain || codingOf(x.request.Header) == "" {
		of.body = x.outgoing
	}
	header := x.credential.forward(ctx, x.request.Header, x.provider, of)
	delete(header, "Accept-Encoding") // A coded answer would have to be decoded to be read for the records.
	if x.plain {
		delete(header, "Content-Encoding")
		withoutDigests(header)
	}
	if x.isLater() {
		maps.DeleteFunc(header, func(name string, _ []string) bool { return isOfFirstRound(name) })
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = []string{""} // Else net/http sends its own.
	}
	out := &http.Request{
		Method: x.request.Method, Header: header,
		URL:  x.target,
		Body: x.outgoing.reader(), ContentLength: x.outgoing.length(),
	}
	return out.WithContext(ctx)
}

// letGo releases the request's bodies. A body that the transport is still sending stays held until it is sent: see
// sending.
func (x *relay) letGo() {
	letGo(&x.clientBody)
	x.outgoing.release()
	letGo(&x.plainBody)
}

// letGo releases a body, unless that has been done.
func letGo(held **body) {
	if *held != nil {
		(*held).release()
		*held = nil
	}
}

// forgo gives back the memory of the bodies that a transport still holds.
func (x *relay) forgo() {
	for _, body := range x.bodies {
		if body != nil {
			body.forgo()
		}
	}
}

// answer copies an answer to the client and notes what it says.
func (x *relay) answer(answer *http.Response) error {
	goesOn := false
	defer func() {
		if !goesOn { // Else its end is still being read.
			_ = answer.Body.Close() // It may have been replaced by then.
		}
	}()
	round := x.lastRound()
	answer = x.unjudged(answer, round)
	x.hideEchoes(answer, round)
	if x.isLater() && x.client.started && !x.joins(answer) {
		return x.failRound(answer, round)
	}
	if x.joins(answer) {
		round.joint = x.tools.joint
	}
	asItComes, err := x.open(answer, round)
	if err != nil {
		return err
	}
	if round.joint != nil && x.isLater() && round.isStream == x.isBody() {
		return x.endOtherForm(answer, round)
	}
	if asItComes && (round.isStream || round.joint == nil) {
		err = x.copyAsItComes(answer, round)
	} else {
		err = x.copyWhole(answer, round)
	}
	goesOn = errors.Is(err, errGoesOn)
	return err
}

func (x *relay) lastRound() *round { return x.rounds[len(x.rounds)-1] }

// writeHeadOnce is writeHead, unless the head has been written.
func (x *relay) writeHeadOnce(answer *http.Response) error {
	if x.client.started {
		return nil
	}
	return x.writeHead(answer)
}

// writeHead writes the head of an answer, once the start of the interception is safe.
func (x *relay) writeHead(answer *http.Response) error {
	if err := x.awaitStart(x.ctx); err != nil {
		return err
	}
	copyAnswerHeader(x.client.Header(), answer)
	x.client.WriteHeader(answer.StatusCode)
	return nil
}

// fail answers a request with an error if no answer has begun, and otherwise breaks the connection off.
func (x *relay) fail(err error) {
	if x.client.started {
		panic(http.ErrAbortHandler)
	}
	x.failure = apierror.From(err)
	if err := x.conclude(x.ctx, x.ending()); err != nil {
		x.failure = unrecorded(err)
	}
	x.format.Shape.Write(x.client, x.request, x.failure)
}

// ending returns what only the relay knows about how the request ended.
func (x *relay) ending() ending {
	left := x.ctx.Err() != nil && errors.Is(context.Cause(x.ctx), context.Canceled)
	return ending{
		failure: x.failure, left: left, ended: x.ctx.Err() != nil && !left, stalled: x.client.stalled,
	}
}

// close ends the interception in any case. It runs deferred, also during a panic.
func (x *relay) close() {
	reason := recover()
	ending := x.ending()
	ending.panicked = reason != nil && reason != http.ErrAbortHandler
	_ = x.conclude(x.ctx, ending) // [interception.end] logs its failure.
	x.noteBreak()
	x.end(x.ctx, x.failure)
	if reason != nil {
		panic(reason) // The stack of the first panic is still below this one, for the log.
	}
}
