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
	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/wire"
)

// errGoesOn says that the model has called tools of the gateway, and goes on in another round once it has their results.
var errGoesOn = errors.New("the answer goes on in another round")

// mostTail is how many bytes are read behind the end of an answer, so that its connection can be used again, and longestTail
// how long that may take beside the calls of tools.
const (
	mostTail    = 64 << 10
	longestTail = 50 * time.Millisecond
)

// laterForeign says that a later round is not what its API promises, so that the client's answer has no end.
const laterForeign = "the upstream's answer to a call of the gateway's tools is none of this API"

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
		x.tools.keeping.Wait()
		x.keepOpen()
		var results []wire.Result
		if isLast := round == x.tools.limits.Rounds; isLast && !x.tools.turn.Mixed {
			results = x.declineCalls(x.tools.turn.Calls, fmt.Sprintf("the tool was not called: %d rounds are the limit", round))
		} else {
			results = x.runCalls(x.tools.turn.Calls)
		}
		x.tools.keeping.Wait()
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
			x.keepOpen() // With the results, which are lost otherwise if the process ends before the provider has them.
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

// serveRound sends the request of one round and copies its answer. It returns [errGoesOn] if there is to be another one.
func (x *relay) serveRound() error {
	var answer *http.Response
	var err error
	x.meanwhile(func() { answer, err = x.ask() })
	if err != nil {
		return x.endWithError(apierror.From(err))
	}
	x.outgoing.release() // Another round sends another one.
	return x.answer(answer)
}

// joins reports whether an answer is part of one that may have several rounds. One in a coding that is not known here cannot
// be: it is relayed as it comes.
func (x *relay) joins(answer *http.Response) bool {
	return x.tools != nil && answer.StatusCode < http.StatusMultipleChoices && contentcoding.IsKnown(x.lastRound().coding)
}

// isBody reports whether the answer has begun, with a round that is no stream: nothing goes out before the last one has come.
func (x *relay) isBody() bool { return x.tools != nil && x.tools.head != nil }

// endOtherForm ends an answer because a later round came in another form than the first, and the client can have but one. What
// the round says has been paid for, so it is read to its end and recorded.
func (x *relay) endOtherForm(answer *http.Response, round *round) error {
	round.joint = nil
	buffer := x.bridge.providers.copies.Get()
	defer x.bridge.providers.copies.Put(buffer)
	for {
		n, err := answer.Body.Read(buffer)
		x.arrived(buffer[:n])
		round.follow(buffer[:n])
		if err != nil {
			round.rest(isEnd(err))
			_ = round.finish(err) // The client gets an error in any case.
			break
		}
	}
	switch failure := round.said().Failure; {
	case failure == (wire.Failure{}):
	case x.client.started:
		failure.Message = failureMessage(failure, "the upstream reported an error")
		return x.endWithFailure(failure)
	default: // Its words are in the record.
		return &apierror.Error{Status: http.StatusBadGateway, Text: "the upstream reported an error after a call of the gateway's tools"}
	}
	return x.endWithError(&apierror.Error{
		Status: http.StatusBadGateway, Text: "the upstream answered in another form after a call of the gateway's tools",
	})
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
	if x.isLater() && round.isForeign() {
		for len(rest) > 0 && !bytes.HasSuffix(rest, []byte("\n\n")) {
			rest = append(rest, '\n') // The error must be an event of its own.
		}
		return x.endWithError(&apierror.Error{Status: http.StatusBadGateway, Text: laterForeign}, rest...)
	}
	x.tools.turn = x.tools.joint.Turn()
	switch {
	case x.tools.turn.Cut:
		round.err = errTruncated
		return x.endWithError(&apierror.Error{Status: http.StatusBadGateway, Text: breakText(errTruncated), Cause: errTruncated}, rest...)
	case len(x.tools.turn.Calls) == 0:
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
	if round.unread {
		return x.sendWhole(answer, whole[sent:])
	}
	if x.isLater() && round.isForeign() {
		return x.endWithError(&apierror.Error{Status: http.StatusBadGateway, Text: laterForeign})
	}
	x.tools.turn = x.tools.joint.Turn()
	if failed := round.said().Failure != (wire.Failure{}); !failed {
		if len(x.tools.turn.Calls) > 0 {
			x.tools.head = cmp.Or(x.tools.head, answer)
			x.tools.tail = readTail(answer.Body)
			return errGoesOn
		}
		x.keep()
	}
	x.final = true
	joined := x.tools.joint.Finish(nil)
	if len(joined) == 0 || bytes.Equal(joined, whole) {
		return x.sendWhole(answer, whole[sent:])
	}
	return x.sendJoined(cmp.Or(x.tools.head, answer), joined)
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
	if failure.Message == "" {
		failure.Message = fmt.Sprintf("the upstream answered with status %d", round.status)
	}
	return x.endWithFailure(failure)
}

// endWithFailure ends a stream with an error that the upstream reported in a later round.
func (x *relay) endWithFailure(failure wire.Failure) error {
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
	kind, code := x.format.Shape.Kind(failure.Status)
	x.tools.ready = x.tools.joint.Fail(append(x.tools.ready[:0], rest...), wire.Failure{Type: kind, Code: code, Message: failure.Text})
	return x.write(x.tools.ready)
}
