package aibridge

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/upstream"
)

// storedResponse reads along the answer to a request that shows a stored response. If the response was begun in the
// background and is in its final state, it records what the response did, before the client gets the end of the answer.
// It belongs to the handler's goroutine.
type storedResponse struct {
	bridge  *RequestBridge
	ctx     context.Context
	to      destination
	secrets secrets

	learning *learning // Nil: nothing is to be learnt of the answer.
}

// follow makes an answer be read along. It is a function for [net/http/httputil.ReverseProxy.ModifyResponse]. An answer
// that is no stream is read whole first, as that of a recorded request is.
func (s *storedResponse) follow(answer *http.Response) error {
	if answer.StatusCode != http.StatusOK || answer.Request.Method == http.MethodHead {
		return nil
	}
	round := newRound(answerHead{
		status: answer.StatusCode, coding: codingOf(answer.Header),
		span: trace.SpanFromContext(context.Background()), // The request has a span of its own.
	}, s.to.route.stored.Track, s.to.provider.memory)
	round.learning = s.learning
	isStream := showsStream(answer)
	if isStream {
		form, err := peek(answer, round, s.bridge.providers.copies, nil)
		if err != nil {
			return err
		}
		isStream = form != aValue
	}
	round.begin(isStream)
	if round.isStream {
		answer.Body = &storedStream{ReadCloser: answer.Body, response: s, round: round}
		return nil
	}
	defer round.close()
	whole, err := readStored(answer, s.to.provider.memory)
	if err != nil {
		return err
	}
	answer.Body = whole
	if !whole.ended {
		s.warnUnread()
		return nil
	}
	// The answer has been paid for, so it waits for its turn even if the client has left.
	done, err := s.to.provider.memory.Turn(context.WithoutCancel(s.ctx), contentcoding.Expected(round.coding, whole.bytes))
	if err != nil {
		s.warnUnread()
		return nil
	}
	defer done()
	round.read(whole.bytes)
	if round.unread {
		s.warnUnread()
	}
	return s.record(round)
}

func (s *storedResponse) warnUnread() {
	s.bridge.options.Logger.Warn(s.ctx, "a stored response was passed on unread: it is too large, or there is no memory for it",
		slog.F("provider", s.to.provider.name))
}

// storedBody is a body that has been read, or the beginning of one that is too large for that.
type storedBody struct {
	io.Reader

	bytes []byte // What has been read.
	ended bool   // That is all.
	rest  io.ReadCloser
	pool  *memory.Pool
}

// readStored reads the body of an answer, as far as there is memory for it. The caller closes the result instead of the
// answer's body.
func readStored(answer *http.Response, pool *memory.Pool) (*storedBody, error) {
	expected := answer.ContentLength + 1 // One byte more, so that Read finds the end without a larger buffer.
	data, err := pool.Lend(expected)
	if err != nil {
		return &storedBody{Reader: answer.Body, rest: answer.Body, pool: pool}, nil
	}
	for err == nil && len(data) <= mostRead {
		if len(data) == cap(data) {
			larger, full := pool.Grow(data, expected)
			if full != nil {
				break
			}
			data = larger
		}
		var n int
		n, err = answer.Body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
	}
	if err != nil && !isEnd(err) {
		pool.TakeBack(data)
		return nil, upstream.Failure(err)
	}
	return &storedBody{
		Reader: io.MultiReader(bytes.NewReader(data), answer.Body), bytes: data, ended: isEnd(err), rest: answer.Body, pool: pool,
	}, nil
}

// Close implements [io.Closer].
func (b *storedBody) Close() error {
	b.pool.TakeBack(b.bytes)
	b.bytes = nil
	return b.rest.Close()
}

// showsStream reports whether an answer is a stream if it does not begin with a JSON value: it says so, or was asked for as
// one.
func showsStream(answer *http.Response) bool {
	return mediaType(answer) == "text/event-stream" || answer.Request.URL.Query().Get("stream") == "true"
}

// storedStream is the body of an answer that is a stream.
type storedStream struct {
	io.ReadCloser

	response *storedResponse
	round    *round
	over     bool // What the stream says is recorded, or it has ended.
}

// Read returns the next piece. It returns the one that has the final state once that is recorded.
func (s *storedStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.over {
		return n, err
	}
	s.round.follow(p[:n])
	if err != nil {
		s.round.rest(isEnd(err))
	}
	if !s.round.mayEnd() {
		return n, err
	}
	s.over = true
	if lost := s.response.record(s.round); lost != nil {
		s.response.bridge.options.Logger.Error(s.response.ctx, "records of a background response were lost", slog.Error(lost))
		return 0, lost
	}
	return n, err
}

// Close implements [io.Closer].
func (s *storedStream) Close() error {
	s.round.close()
	return s.ReadCloser.Close()
}

// record records what a response did, and returns when the records are safe. It does nothing for a response that was
// not begun in the background, is not final, or is recorded already. The records belong to the interception that began
// the response.
func (s *storedResponse) record(round *round) error {
	seen, remembered := round.said(), s.bridge.providers.background
	i := &interception{
		bridge: s.bridge, provider: s.to.provider, format: s.to.route.stored, started: time.Now(), later: true,
	}
	i.secrets = s.secrets
	i.inspected.Model = seen.Model
	id := backgroundID(s.to.provider.name, seen.ID)
	i.inspected.Background = seen.Background || remembered.has(id)
	if seen.ID == "" || !i.inspected.Background || i.goesOn(round) {
		return nil
	}
	before := remembered.claim(id)
	if before.recorded {
		return nil
	}
	i.id = before.interception
	if i.id == uuid.Nil {
		i.id = id // The control plane finds the interception by it.
	}
	records := i.roundRecords(round)
	if len(records) == 0 {
		return nil
	}
	// Records are written even if the client leaves, which then gets nothing more, so there is no need to wait.
	detached := context.WithoutCancel(s.ctx)
	commit, err := s.bridge.recorder.Record(detached, records...)
	if s.ctx.Err() == nil {
		err = cmp.Or(err, wait(detached, commit))
	}
	if err != nil {
		remembered.set(id, before)
		return unrecorded(err)
	}
	s.bridge.options.Metrics.recorded(i, records)
	return nil
}
