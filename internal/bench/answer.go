package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// shape says what an answer looks like. A request names it in a header, which all proxies pass on.
type shape struct {
	deltas int           // Events of text in a stream; zero is a blocking answer.
	pace   time.Duration // The pause before each of them.
	// stamped says that the stream's last event comes after a pause, and begins with a comment that holds the time at
	// which it was sent.
	stamped bool
	// calls says that the model calls a tool of the gateway first, and answers so once it has the result.
	calls bool
}

const shapeHeader = "X-Bench-Shape"

func (s shape) String() string {
	return fmt.Sprintf("%d %d %t %t", s.deltas, s.pace, s.stamped, s.calls)
}

func parseShape(text string) (s shape, err error) {
	if _, err := fmt.Sscan(text, &s.deltas, &s.pace, &s.stamped, &s.calls); err != nil {
		return shape{}, fmt.Errorf("%s: %q: %w", shapeHeader, text, err)
	}
	return s, nil
}

const (
	blockingText = 1500 // Bytes of text in a blocking answer.
	deltaText    = 20   // Bytes of text in an event.

	stampMark   = "sent at "
	stampDigits = 19 // The digits of a time in nanoseconds.
)

// answer is an answer that is ready to be sent. Of a stream, the first and the last piece hold several events each, as
// upstreams send them.
type answer struct {
	pieces [][]byte // Each is one write, with header and framing.
	length int      // Of the body.
	ending []byte   // What the body ends with.
}

func (f format) answer(s shape) *answer {
	words := newText()
	if s.deltas == 0 {
		body := f.blocking(words.prose(blockingText))
		return &answer{
			pieces: [][]byte{[]byte(answerHead("application/json") + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)},
			length: len(body), ending: []byte(body[len(body)-20:]),
		}
	}
	a := &answer{}
	a.pieces = append(a.pieces, a.chunks([]byte(answerHead("text/event-stream; charset=utf-8")+"Transfer-Encoding: chunked\r\n\r\n"), f.opening...))
	for range s.deltas {
		a.pieces = append(a.pieces, a.chunks(nil, f.delta(words.prose(deltaText))))
	}
	before, last := f.closing[:len(f.closing)-1], f.closing[len(f.closing)-1]
	a.ending = []byte(last.text())
	if s.stamped {
		last.comment = stampMark + strings.Repeat("0", stampDigits)
	}
	a.pieces = append(a.pieces, append(a.chunks(a.chunks(nil, before...), last), "0\r\n\r\n"...))
	return a
}

// chunks appends events as chunks to a piece, and counts them as parts of the body.
func (a *answer) chunks(piece []byte, events ...event) []byte {
	for _, e := range events {
		text := e.text()
		a.length += len(text)
		piece = fmt.Appendf(piece, "%x\r\n%s\r\n", len(text), text)
	}
	return piece
}

// stamp returns a copy of a piece with the time at in its comment.
func stamp(piece []byte, at time.Time) []byte {
	piece = bytes.Clone(piece)
	if i := bytes.Index(piece, []byte(stampMark)); i >= 0 {
		copy(piece[i+len(stampMark):], strconv.FormatInt(at.UnixNano(), 10))
	}
	return piece
}

// stampOf returns the time in the comment of a body's last event.
func stampOf(end []byte) (time.Time, error) {
	i := bytes.LastIndex(end, []byte(stampMark))
	if i < 0 || len(end) < i+len(stampMark)+stampDigits {
		return time.Time{}, fmt.Errorf("the end of a stream does not say when it was sent: %q", end)
	}
	digits := end[i+len(stampMark):][:stampDigits]
	at, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("when the end of a stream was sent: %w", err)
	}
	return time.Unix(0, at), nil
}

func answerHead(contentType string) string {
	return "HTTP/1.1 200 OK\r\nDate: Sat, 22 Nov 2025 20:00:00 GMT\r\nContent-Type: " + contentType + "\r\nCache-Control: no-cache\r\n" +
		"Request-Id: req_011Bench\r\nX-Ratelimit-Limit-Requests: 10000\r\nX-Ratelimit-Remaining-Requests: 9999\r\n" +
		"X-Ratelimit-Limit-Tokens: 30000000\r\nX-Ratelimit-Remaining-Tokens: 29999000\r\nX-Ratelimit-Reset-Requests: 6ms\r\n" +
		"Anthropic-Ratelimit-Input-Tokens-Limit: 2000000\r\nAnthropic-Ratelimit-Input-Tokens-Remaining: 1999000\r\n" +
		"Anthropic-Organization-Id: 00000000-0000-4000-8000-000000000000\r\n" +
		"Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n"
}
