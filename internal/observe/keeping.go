package observe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/upstream"
)

// keeping is one exchange under way. The request's goroutine adds to it, and the writer takes what was added.
type keeping struct {
	keeper *Keeper
	// ctx is the request's: it tells who cancelled the request.
	ctx             context.Context
	finished, until string // The names of its file.
	redaction       redaction

	mu       sync.Mutex // guards what follows.
	sections []kept.Section
	response []byte // The piece that is being collected.
	held     int    // The bytes of sections and response, taken from the budget.
	received int64  // Bytes of the response so far.
	queued   bool   // It is in the writer's queue.
	over     bool   // Nothing is added any more: the exchange has ended or is lost.
	lost     bool

	written bool // The file exists. Only the writer uses this.
}

// begin starts to keep an exchange. It returns nil where the exchange is dropped.
func (k *Keeper) begin(r *http.Request, of Interception) *keeping {
	redaction := redactionOf(of.Header, r.Header)
	head, err := kept.HeadSection(kept.Head{
		Interception: of.ID, Round: of.Round, Format: of.Format, Path: redaction.path(of.Path), At: time.Now().UTC(),
		Header: redaction.header(of.Header), RequestBytes: int64(len(of.Body)),
	})
	held := head.Size() + len(of.Body)
	if err != nil || !k.admit(held) {
		k.losses.add()
		return nil
	}
	e := &keeping{
		keeper: k, ctx: r.Context(), held: held, redaction: redaction,
		// A copy: the client's buffer may be reused once the request is sent.
		sections: []kept.Section{head, kept.RequestSection(bytes.Clone(of.Body))},
	}
	e.finished, e.until = kept.Path(k.dir, of.ID, of.Round)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.handIn()
	return e
}

// admit reports whether one more exchange can be kept whose first section has that many bytes.
func (k *Keeper) admit(held int) bool {
	if k.keeping.Add(1) <= maxKeeping && k.budget.takeAll(held) {
		return true
	}
	k.keeping.Add(-1)
	return false
}

// answered notes that the upstream has begun to answer.
func (e *keeping) answered(resp *http.Response) {
	answer, err := kept.AnswerSection(kept.Answer{
		At: time.Now().UTC(), Status: resp.StatusCode, Header: e.redaction.header(resp.Header),
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	e.add(answer, err)
}

// note notes what a Read of the answer's body returned.
func (e *keeping) note(p []byte, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over {
		return
	}
	if !e.keeper.budget.takeAll(len(p)) {
		e.drop()
		return
	}
	e.held += len(p)
	e.received += int64(len(p))
	e.response = append(e.response, p...)
	switch {
	case errors.Is(err, io.EOF):
		e.end(kept.Whole, nil)
	case err != nil:
		e.end(kept.Broken, err)
	case len(e.response) >= keepPiece:
		e.cut()
		e.handIn()
	}
}

// failed notes that the upstream did not answer.
func (e *keeping) failed(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end(kept.Broken, upstream.WithContextError(e.ctx, err))
}

// left notes that the answer's body was closed, if that was before its end.
func (e *keeping) left() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end(kept.Left, nil)
}

// end adds the last section and hands in the exchange. The caller holds mu, as for all methods below.
func (e *keeping) end(ending kept.Ending, err error) {
	if e.over {
		return
	}
	e.cut()
	end := kept.End{At: time.Now().UTC(), ResponseBytes: e.received, Ending: ending, Cancelled: e.cancelled()}
	if err != nil {
		if errors.Is(context.Cause(e.ctx), upstream.ErrIdle) {
			err = upstream.ErrIdle // From here it only looks as if the request was cancelled.
		}
		failure := upstream.Failure(err)
		end.Failure, end.FailureStatus = failure.Text, failure.Status
		if failure.Cause != nil {
			end.Failure = e.redaction.text(failure.Cause.Error())
		}
	}
	section, failed := kept.EndSection(end)
	if e.add(section, failed); !e.over {
		e.over = true
		e.handIn()
	}
}

// cancelled says who has cancelled the request, by the rule that also decides its outcome.
func (e *keeping) cancelled() kept.Cancelled {
	cause := context.Cause(e.ctx)
	switch {
	case cause == nil, errors.Is(cause, upstream.ErrIdle):
		return ""
	case errors.Is(cause, context.Canceled):
		return kept.CancelledByClient
	}
	return kept.CancelledByGateway
}

// add adds a section, or drops the exchange where err says that the section could not be made.
func (e *keeping) add(section kept.Section, err error) {
	switch {
	case e.over:
	case err != nil, !e.keeper.budget.takeAll(section.Size()):
		e.drop()
	default:
		e.held += section.Size()
		e.sections = append(e.sections, section)
	}
}

// cut makes a section of the collected piece.
func (e *keeping) cut() {
	if len(e.response) > 0 {
		e.sections = append(e.sections, kept.ResponseSection(e.response))
		e.response = nil
	}
}

// handIn puts the exchange into the writer's queue, which has room for every admitted exchange.
func (e *keeping) handIn() {
	if !e.queued {
		e.queued = true
		e.keeper.writer.queue <- e
	}
}

// drop gives the exchange up. The writer then removes its file.
func (e *keeping) drop() {
	if e.giveUp() {
		e.keeper.losses.add()
	}
	e.handIn()
}

// giveUp forgets the copies. It reports whether the exchange was not given up before.
func (e *keeping) giveUp() bool {
	news := !e.lost
	e.keeper.budget.release(e.held)
	e.sections, e.response, e.held = nil, nil, 0
	e.over, e.lost = true, true
	return news
}
