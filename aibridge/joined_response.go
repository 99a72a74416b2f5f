package aibridge

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/responses"
)

// responseID is the segment of a route's path that names a stored response.
const responseID = "{response_id}"

// lastRoundsPath returns the path of a request that names a stored response, with the last round's response in the place of
// the first: the client knows the first one's id alone, which does not have the end of the answer. Its input items stay those
// of the first. It also returns the turn that was kept of the answer, by which what the client has not seen is hidden from it: if
// nothing was kept, or nobody knows it any more, that is an empty one. Nil: there are no tools, or no response is named.
func (b *RequestBridge) lastRoundsPath(ctx context.Context, to destination, initiatorID string) (path string, turn []byte) {
	before, after, ok := strings.Cut(to.route.path, responseID)
	if !ok || b.conversations == nil {
		return to.path, nil
	}
	escaped, _, _ := strings.Cut(strings.TrimPrefix(to.path, before), "/")
	id, err := url.PathUnescape(escaped)
	if err != nil || before+escaped+after != to.path {
		return to.path, nil
	}
	key := wire.AnswerKey + id
	kept, err := b.conversations.findStored(ctx, 0, initiatorID, to.provider.name, []string{key})
	if err != nil {
		b.options.Logger.Warn(ctx, "it could not be looked up which response an id stands for", slog.F("initiator_id", initiatorID), slog.Error(err))
	}
	decoded, ok := wire.DecodeTurn(kept[key])
	switch {
	case !ok:
		return to.path, []byte(overTurn)
	case decoded.Last == "" || strings.HasSuffix(after, "/input_items"):
		return to.path, kept[key]
	}
	return before + url.PathEscape(decoded.Last) + after, kept[key]
}

// showAsSeen makes an answer that shows a stored response, of which a turn was kept, show what its client has seen. An answer
// that is too large to be read, or coded, stays as it is.
func showAsSeen(answer *http.Response, turn []byte, pool *memory.Pool) error {
	if answer.StatusCode != http.StatusOK || answer.Request.Method == http.MethodHead || isCoded(codingOf(answer.Header)) {
		return nil
	}
	share := pool.Share()
	joint := responses.Shown(turn, wire.Joined{IsOurs: func(name string) bool { return strings.HasPrefix(name, toolPrefix) }, Memory: share})
	switch {
	case joint == nil:
		share.Close()
		return nil
	case showsStream(answer):
		joint.Begin(wire.Stream)
		answer.Body = &shownStream{ReadCloser: answer.Body, joint: joint, share: share, events: sse.Splitter{Pool: pool}}
		withoutLength(answer)
		return nil
	}
	defer share.Close()
	whole, err := readStored(answer, pool)
	if err != nil {
		return err
	}
	answer.Body = whole
	if !whole.ended {
		return nil
	}
	joint.Begin(wire.Body)
	joint.Pass(nil, sse.Event{Data: whole.bytes})
	if shown := joint.Finish(nil); len(shown) > 0 && !bytes.Equal(shown, whole.bytes) {
		whole.Reader = strings.NewReader(string(shown))
		withoutLength(answer)
	}
	return nil
}

// withoutLength lets an answer have another length than its header says.
func withoutLength(answer *http.Response) {
	answer.Header.Del("Content-Length")
	answer.ContentLength = -1
}

// shownStream is the body of a stream that shows a stored response.
type shownStream struct {
	io.ReadCloser

	joint  wire.Joint
	share  *memory.Share
	events sse.Splitter
	ready  []byte // For the client.
	at     int    // How much of it has been read.
	err    error  // With which the stream ended.
}

// Read implements [io.Reader].
func (s *shownStream) Read(p []byte) (int, error) {
	for s.at == len(s.ready) && s.err == nil {
		s.ready, s.at = s.ready[:0], 0
		n, err := s.ReadCloser.Read(p)
		for event := range s.events.Feed(p[:n]) {
			s.ready = s.joint.Pass(s.ready, event)
		}
		if s.err = err; err == nil {
			continue
		}
		for event := range s.events.Flush() {
			s.ready = s.joint.Pass(s.ready, event)
		}
		s.ready = s.joint.Finish(s.ready)
	}
	n := copy(p, s.ready[s.at:])
	if s.at += n; s.at < len(s.ready) {
		return n, nil
	}
	return n, s.err
}

// Close implements [io.Closer].
func (s *shownStream) Close() error {
	s.events.Close()
	s.share.Close()
	return s.ReadCloser.Close()
}
