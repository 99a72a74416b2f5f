package bedrock

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/coder/aibridged/internal/contain"
	"github.com/coder/aibridged/internal/eventstream"
	"github.com/coder/aibridged/internal/invokestream"
	"github.com/coder/aibridged/internal/memory"
)

const (
	// pingAfter is how long a client hears nothing before it is sent a ping. Bedrock has none, and holds the arguments of
	// tools back for minutes; clients give up after five of silence.
	pingAfter = 15 * time.Second
	// readBytes is how much of a stream is read at a time.
	readBytes = 4 << 10
)

const ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n"

// stream is the body of an answer whose frames have become server-sent events. A goroutine reads the frames, so that a Read
// can return a ping while none comes; Close ends it and waits for it. Close may be called during a Read.
type stream struct {
	body   io.ReadCloser
	pieces chan piece
	closed chan struct{}
	close  sync.Once
	done   chan struct{} // Closed when the goroutine has ended.

	ready []byte // What the next Reads return.
	err   error  // What they return behind it.
	timer *time.Timer
}

// piece is what the goroutine has read.
type piece struct {
	events    []byte // The piece's receiver owns them.
	exception *invokestream.Exception
	err       error // Nothing comes behind it.
}

func newStream(body io.ReadCloser, pool *memory.Pool) *stream {
	s := &stream{
		body: body, pieces: make(chan piece), closed: make(chan struct{}), done: make(chan struct{}), timer: time.NewTimer(pingAfter),
	}
	go s.readFrames(pool)
	return s
}

// begin waits until the stream has begun. It returns the exception that stands in the place of the first event, or an error
// if nothing came.
func (s *stream) begin() (*invokestream.Exception, error) {
	first := s.next()
	if len(first.events) == 0 && first.exception == nil && first.err != nil && !errors.Is(first.err, io.EOF) {
		return nil, first.err
	}
	if len(first.events) == 0 && first.exception != nil {
		return first.exception, nil
	}
	s.take(first)
	return nil, nil
}

// next waits for the next piece, or for as long as a client may be left without a ping.
func (s *stream) next() piece {
	s.timer.Reset(pingAfter)
	select {
	case p := <-s.pieces:
		return p
	case <-s.timer.C:
		return piece{events: []byte(ping)}
	case <-s.closed:
		return piece{err: io.ErrClosedPipe}
	}
}

// take makes a piece what the next Reads return. An exception becomes the event with which the Messages API ends a stream
// that has failed.
func (s *stream) take(p piece) {
	s.ready, s.err = p.events, p.err
	if p.exception != nil {
		s.ready = appendEvent(s.ready, "error", p.exception.Body())
		s.err = io.EOF
	}
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.take(s.next())
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}

// Close ends the stream, and the Read that waits.
func (s *stream) Close() error {
	s.close.Do(func() { close(s.closed) })
	err := s.body.Close()
	<-s.done
	s.timer.Stop()
	return err
}

// readFrames reads the body until it ends, and hands on what its frames say.
func (s *stream) readFrames(pool *memory.Pool) {
	defer close(s.done)
	frames := eventstream.Splitter{Pool: pool}
	defer frames.Close()
	buffer := make([]byte, readBytes)
	for {
		p := s.read(buffer, &frames)
		if p.err == nil && p.exception == nil && len(p.events) == 0 {
			continue
		}
		select {
		case s.pieces <- p:
		case <-s.closed:
			return
		}
		if p.err != nil || p.exception != nil {
			return
		}
	}
}

// read reads once, and returns what the frames say that are whole then.
func (s *stream) read(buffer []byte, frames *eventstream.Splitter) (p piece) {
	defer func() {
		if value := recover(); value != nil {
			p.err = contain.Recovered(value)
		}
	}()
	n, err := s.body.Read(buffer)
	for frame := range frames.Feed(buffer[:n]) {
		if p.err != nil || p.exception != nil {
			continue // Nothing means anything behind it.
		}
		event, unread := invokestream.Read(frame)
		switch {
		case unread != nil:
			p.err = unread
		case event.Exception != nil:
			p.exception = event.Exception
		case event.Data != nil:
			p.events = appendEvent(p.events, event.Type, event.Data)
		}
	}
	switch {
	case p.err != nil || p.exception != nil:
	case frames.Err() != nil:
		p.err = frames.Err()
	case errors.Is(err, io.EOF) && frames.End() != nil:
		p.err = frames.End()
	default:
		p.err = err
	}
	return p
}

// appendEvent appends a server-sent event. Data of several lines, which JSON may have, becomes several lines of data.
func appendEvent(to []byte, kind string, data []byte) []byte {
	if kind != "" {
		to = append(append(append(to, "event: "...), kind...), '\n')
	}
	to = append(to, "data: "...)
	for {
		end := bytes.IndexAny(data, "\r\n")
		if end < 0 {
			return append(append(to, data...), "\n\n"...)
		}
		to = append(append(to, data[:end]...), "\ndata: "...)
		if bytes.HasPrefix(data[end:], []byte("\r\n")) {
			end++
		}
		data = data[end+1:]
	}
}
