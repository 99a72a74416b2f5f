package aibridge

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/coder/aibridged/internal/upstream"
)

// rounds is the body that the client's proxy reads: the upstream's answers, one after another, each noted by its
// [answer] while its bytes go on as they are. Without tools of ours there is one.
type rounds struct {
	x      *exchange
	answer *answer
	body   io.ReadCloser
}

// Read implements [io.Reader]. It waits for nothing but the upstream, and at the end of the answer for its records:
// whoever has an answer to its last byte finds it recorded.
func (s *rounds) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if n > 0 && s.x.concluded == nil {
		s.x.arrived(p[:n])
		s.answer.observe(p[:n])
	}
	if err != nil {
		err = s.answer.finish(err)
	}
	if err != nil || s.answer.tracker.Ended() {
		if lost := s.x.conclude(); lost != nil {
			return 0, lost
		}
	}
	return n, err
}

// Close implements [io.Closer]. Before the end of the answer it means that the client is gone.
func (s *rounds) Close() error { return s.body.Close() }

// readWhole reads an answer that is no stream before anything of it goes to the client: half of a JSON value is of no
// use to anyone, so that one which breaks off becomes an error. A body too large to hold goes on unread.
func (s *rounds) readWhole(response *http.Response) error {
	var whole bytes.Buffer
	if size := response.ContentLength; size > 0 {
		whole.Grow(int(min(size, answerBody)) + bytes.MinRead)
	}
	_, err := whole.ReadFrom(io.LimitReader(s.body, answerBody+1))
	if whole.Len() > 0 || err == nil {
		s.x.arrived(whole.Bytes())
	}
	if err != nil {
		_ = s.answer.finish(err)
		return errors.Join(upstream.Failure(err), s.body.Close())
	}
	if whole.Len() > answerBody {
		s.answer.unread = true
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(&whole, s), s}
		return nil
	}
	s.answer.collected = whole.Bytes()
	_ = s.answer.finish(io.EOF)
	response.Body = io.NopCloser(&whole)
	if err := s.x.conclude(); err != nil {
		return errors.Join(unrecorded(err), s.body.Close())
	}
	return s.body.Close()
}
