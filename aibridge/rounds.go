package aibridge

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/wire"
)

// errOtherForm says that a later round's answer is a stream and the first one is not, or the other way round.
var errOtherForm = &apierror.Error{Status: http.StatusBadGateway, Text: "the upstream answered a later round in another form than the first"}

// errGoesOn says that the model has called tools of the gateway, and goes on in another round once it has their results.
var errGoesOn = errors.New("the answer goes on in another round")

// mostTail is how many bytes are read behind the end of an answer, so that its connection can be used again, and longestTail
// how long that may take beside the calls of tools.
const (
	mostTail    = 64 << 10
	longestTail = 50 * time.Millisecond
)

// serveRounds sends a request whose model may call tools of the gateway, runs what it calls, and sends the next round's
// request, until a turn is the client's. The client sees one answer.
func (x *relay) serveRounds() error {
	x.ctx, x.tools.cancel = context.WithCancel(x.ctx)
	for round := 0; ; round++ {
		err := x.serveRound()
		if !errors.Is(err, errGoesOn) {
			return err
		}
		x.pending = true
		last := x.lastRound()
		err = x.recordUsage(x.ctx, last)
		results := x.runCalls(x.tools.turn.Calls)
		x.arrived(<-x.tools.tail)
		err = cmp.Or(err, x.recordParts(x.ctx, last))
		if !x.goesOnAfter(round) {
			x.tools.joint.Close(results)
		}
		switch {
		case err != nil:
			return x.endWithError(unrecorded(err))
		case x.ctx.Err() != nil:
			return x.endWithError(&apierror.Error{
				Status: http.StatusBadGateway, Text: "the request ended while tools of the gateway ran", Cause: context.Cause(x.ctx),
			})
		case x.tools.turn.Mixed:
			return x.finishAnswer(nil)
		case round == x.tools.limits.Rounds:
			return x.endWithError(&apierror.Error{
				Status: http.StatusForbidden, // Clients try others again, and it would be the same.
				Text:   fmt.Sprintf("the model went on calling tools of the gateway: %d rounds are the limit", x.tools.limits.Rounds),
			})
		case !time.Now().Before(x.tools.until):
			return x.endWithError(&apierror.Error{
				Status: http.StatusForbidden,
				Text:   fmt.Sprintf("the tools of the gateway took longer than %s, which is the limit for one request", x.tools.limits.Total),
			})
		}
		edits, err := x.tools.joint.Continue(results)
		if err == nil {
			x.tools.rest = edits
			err = x.rewrite(slices.Concat(x.tools.offered, edits))
		}
		if err != nil {
			return x.endWithError(apierror.From(err))
		}
	}
}

// goesOnAfter reports whether another round follows that one, whose calls have been run.
func (x *relay) goesOnAfter(round int) bool {
	return x.ctx.Err() == nil && !x.tools.turn.Mixed && round < x.tools.limits.Rounds && time.Now().Before(x.tools.until)
}

// openLater finds out which form the answer of a later round has, and fails with [errOtherForm] if it is another one than that
// of the first. It reports whether the rest goes on as it comes.
func (x *relay) openLater(answer *http.Response, round *round) (asItComes bool, err error) {
	isStream := x.tools.isStream
	form, err := peek(answer, round, x.bridge.providers.copies, nil)
	switch {
	case err != nil:
		return false, err
	case form == aStream && !isStream, form == aValue && isStream:
		return false, errOtherForm
	}
	round.begin(isStream)
	return isStream, nil
}

// serveRound sends the request of one round and copies its answer. It returns [errGoesOn] if there is to be another one.
func (x *relay) serveRound() error {
	var answer *http.Response
	var err error
	x.meanwhile(func() { answer, err = x.ask() })
	if err != nil {
		return x.endWithError(apierror.From(err))
	}
	return x.answer(answer)
}

// joins reports whether an answer is part of one that may have several rounds.
func (x *relay) joins(answer *http.Response) bool {
	return x.tools != nil && answer.StatusCode < http.StatusMultipleChoices
}

// isLater reports whether the client has begun to get an answer of an earlier round, or would have.
func (x *relay) isLater() bool { return x.pending }

// endRound ends a round, whose answer ended as err says: [io.EOF] is an end in good order. Rest is for the client, and
// may be the last of the answer.
func (x *relay) endRound(answer *http.Response, round *round, err error, rest []byte) error {
	if err == nil {
		err = round.finish(io.EOF)
	}
	switch seen := round.said(); {
	case seen.Failure != (wire.Failure{}) && isEnd(err): // The client gets the upstream's own event.
		return x.finishAnswer(rest)
	case !isEnd(err) && x.isLater():
		return x.endWithError(&apierror.Error{Status: http.StatusBadGateway, Text: breakText(err), Cause: err}, rest...)
	case !isEnd(err):
		if lost := x.conclude(x.ctx, x.ending()); lost != nil {
			return lost
		}
		return cmp.Or(x.write(rest), err)
	}
	x.tools.turn = x.tools.joint.Turn()
	if len(x.tools.turn.Calls) == 0 {
		return x.finishAnswer(rest)
	}
	if err := x.write(rest); err != nil {
		return err
	}
	x.tools.tail = readTail(answer.Body)
	return errGoesOn
}

// readTail reads what follows the end of an answer, and closes its body.
func readTail(body io.ReadCloser) <-chan []byte {
	tail := make(chan []byte, 1)
	timer := time.AfterFunc(longestTail, func() { _ = body.Close() })
	go func() {
		defer timer.Stop()
		var read []byte
		_ = contain.Call(func() (err error) { // An error only means that the connection is not used again.
			read, err = io.ReadAll(io.LimitReader(body, mostTail))
			return err
		})
		_ = body.Close()
		tail <- read
	}()
	return tail
}

// endWhole ends a round whose answer, which is no stream, has come. Sent says how many bytes of it the client has.
func (x *relay) endWhole(answer *http.Response, round *round, whole []byte, sent int) error {
	if seen := round.said(); round.unread || seen.Failure != (wire.Failure{}) && seen.ID == "" {
		return x.sendWhole(answer, whole[sent:])
	}
	x.tools.turn = x.tools.joint.Turn()
	switch {
	case len(x.tools.turn.Calls) > 0:
		x.tools.head = cmp.Or(x.tools.head, answer)
		x.tools.tail = readTail(answer.Body)
		return errGoesOn
	case x.tools.head != nil:
		return x.finishAnswer(nil)
	}
	x.keep()
	x.final = true
	joined := x.tools.joint.Finish(nil)
	if len(joined) == 0 || bytes.Equal(joined, whole) {
		return x.sendWhole(answer, whole[sent:])
	}
	return x.sendJoined(answer, joined)
}

// sendJoined sends an answer that is no stream and that was made of one or more, once its records are safe.
func (x *relay) sendJoined(head *http.Response, joined []byte) error {
	if err := x.conclude(x.ctx, x.ending()); err != nil {
		return unrecorded(err)
	}
	head.Header.Del("Content-Length")
	head.Header.Del("Content-Encoding")
	withoutDigests(head.Header)
	if err := x.writeHeadOnce(head); err != nil {
		return err
	}
	_, err := x.client.Write(joined)
	return err
}

// finishAnswer ends an answer: rest, and what the joint has held, go out once the records are safe.
func (x *relay) finishAnswer(rest []byte) error {
	x.keep()
	x.final = true
	x.tools.ready = x.tools.joint.Finish(append(x.tools.ready[:0], rest...))
	if x.tools.head != nil {
		return x.sendJoined(x.tools.head, x.tools.ready)
	}
	if err := x.conclude(x.ctx, x.ending()); err != nil {
		return unrecorded(err)
	}
	return x.write(x.tools.ready)
}

// failRound ends a stream because the upstream has answered a later round with an error.
func (x *relay) failRound(answer *http.Response, round *round) error {
	round.joint = nil
	round.begin(false)
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostRefusal))
	x.arrived(text)
	if err == nil {
		round.read(text)
		err = io.EOF
	}
	_ = round.finish(err) // The status says enough.
	failure := round.said().Failure
	switch {
	case failure.Message != "":
	case round.status < http.StatusMultipleChoices:
		x.failure = errOtherForm
		failure.Message = errOtherForm.Text
	default:
		failure.Message = fmt.Sprintf("the upstream answered with status %d", round.status)
	}
	x.keep()
	if lost := x.conclude(x.ctx, x.ending()); lost != nil {
		return unrecorded(lost)
	}
	x.tools.ready = x.tools.joint.Fail(x.tools.ready[:0], failure)
	return x.write(x.tools.ready)
}

// endWithError ends an answer with an error: behind rest and in the form of the stream if the client has begun to get one.
func (x *relay) endWithError(failure *apierror.Error, rest ...byte) error {
	x.keep()
	if !x.client.started || x.ctx.Err() != nil {
		return failure
	}
	x.failure = failure
	if err := x.conclude(x.ctx, x.ending()); err != nil {
		return unrecorded(err)
	}
	x.tools.ready = x.tools.joint.Fail(append(x.tools.ready[:0], rest...), wire.Failure{Message: failure.Text})
	return x.write(x.tools.ready)
}
