package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"sync/atomic"
)

// maxAnswer bounds, in bytes, one answer and one event of a stream of notifications. It is larger than the results that
// are kept, so that most results which are too large are cut, not lost.
const maxAnswer = 16 << 20

type tooLargeKey struct{}

// withTooLargeMark returns a context for one request and a mark that is set if its answer is too large. The mark is
// needed because mcp-go does not return the reason why it could not read an answer.
func withTooLargeMark(ctx context.Context) (context.Context, *atomic.Bool) {
	mark := new(atomic.Bool)
	return context.WithValue(ctx, tooLargeKey{}, mark), mark
}

// tooLargeMark returns the mark in ctx, or a new one if ctx has none.
func tooLargeMark(ctx context.Context) *atomic.Bool {
	if mark, ok := ctx.Value(tooLargeKey{}).(*atomic.Bool); ok {
		return mark
	}
	return new(atomic.Bool)
}

// boundedBody returns resp's body with a limit: on each event if listen is set and the body is an event stream, else on
// the whole.
func boundedBody(resp *http.Response, listen bool, tooLarge *atomic.Bool) io.ReadCloser {
	body := limitedBody{ReadCloser: resp.Body, left: maxAnswer, tooLarge: tooLarge}
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mediaType == "text/event-stream" {
		return &eventBody{limitedBody: body, listen: listen}
	}
	return &body
}

// limitedBody is a body that fails with [ErrTooLarge] after left bytes.
type limitedBody struct {
	io.ReadCloser
	left     int
	tooLarge *atomic.Bool
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	if b.left < 0 {
		b.tooLarge.Store(true)
		return 0, ErrTooLarge
	}
	return n, err
}

// eventBody is an event stream. A stream of notifications may go on for ever, but each event has a limited size. The
// stream that answers a request is limited as a whole, and ends with the answer: a second answer would leave a
// goroutine of mcp-go waiting for ever for a reader.
type eventBody struct {
	limitedBody
	listen bool
	event  []byte // The part of the present event that has arrived.
	line   int    // Where in event its last line begins.
	done   bool
}

func (b *eventBody) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	n, err := b.limitedBody.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			b.event = append(b.event, rest...)
			break
		}
		b.event = append(b.event, rest[:end]...)
		rest = rest[end:]
		if len(bytes.TrimRight(b.event[b.line:], "\r\n")) > 0 {
			b.line = len(b.event)
			continue
		}
		if b.listen {
			b.left = maxAnswer - len(rest)
		} else if answers(b.event) {
			b.done = true
			return n - len(rest), nil
		}
		b.event, b.line = nil, 0 // The buffer is freed: streams of notifications live long and are mostly silent.
	}
	return n, err
}

// answers reports whether event is a response to a request, and not a notification or a request from the server.
func answers(event []byte) bool {
	var data [][]byte
	for line := range bytes.Lines(event) {
		if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(data, bytes.TrimSpace(value))
		}
	}
	text := bytes.Join(data, []byte("\n"))
	var message struct {
		ID any `json:"id"`
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &message) != nil || json.Unmarshal(text, &members) != nil {
		return false
	}
	_, hasMethod := members["method"]
	return message.ID != nil && !hasMethod
}
