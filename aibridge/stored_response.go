package aibridge

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"mime"
	"net/http"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/upstream"
)

// storedResponse reads along the answer to a request that shows a stored response. If the response was begun in the
// background and is in its final state, it records what the response did, before the client gets the end of the answer.
// It belongs to the handler's goroutine.
type storedResponse struct {
	bridge *RequestBridge
	ctx    context.Context
	to     destination
}

// follow makes an answer be read along. It is a function for [net/http/httputil.ReverseProxy.ModifyResponse]. An answer
// that is no stream is read whole first, as that of a recorded request is.
func (s *storedResponse) follow(answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return nil
	}
	round := newRound(answerHead{
		status: answer.StatusCode, coding: codingOf(answer.Header), isStream: showsStream(answer),
		span: trace.SpanFromContext(context.Background()), // The request has a span of its own.
	}, s.to.route.stored.Track())
	if round.isStream {
		answer.Body = &storedStream{ReadCloser: answer.Body, response: s, round: round}
		return nil
	}
	defer round.close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostRead+1))
	if err != nil {
		return upstream.Failure(err)
	}
	whole := replacedBody{Reader: bytes.NewReader(body), Closer: answer.Body}
	if len(body) > mostRead {
		whole.Reader = io.MultiReader(whole.Reader, answer.Body)
	} else {
		round.read(body)
		err = s.record(round)
	}
	answer.Body = whole
	return err
}

// showsStream reports whether an answer is a stream: it says so, or was asked for as one and does not say that it is
// JSON.
func showsStream(answer *http.Response) bool {
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	return media == "text/event-stream" || answer.Request.URL.Query().Get("stream") == "true" && media != "application/json"
}

// replacedBody is a body whose bytes come from another place than the one that is closed.
type replacedBody struct {
	io.Reader
	io.Closer
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
	for range s.round.follow(p[:n]) {
	}
	if err != nil {
		for range s.round.rest(isEnd(err)) {
		}
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
