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

// maxAnswer is how much is read of one answer, and how large an event of a stream of notifications may be.
const maxAnswer = 8 << 20

type tooLargeKey struct{}

// withTooLargeMark returns a context for one request, and what is set when its answer was too large: mcp-go does not
// hand on why it could not read an answer.
func withTooLargeMark(ctx context.Context) (context.Context, *atomic.Bool) {
	mark := new(atomic.Bool)
	return context.WithValue(ctx, tooLargeKey{}, mark), mark
}

// tooLargeMark returns the mark in ctx, or one that nobody looks at.
func tooLargeMark(ctx context.Context) *atomic.Bool {
	if mark, ok := ctx.Value(tooLargeKey{}).(*atomic.Bool); ok {
		return mark
	}
	return new(atomic.Bool)
}

// boundedBody returns resp's body with the limit that it needs.
func boundedBody(resp *http.Response, listen bool, tooLarge *atomic.Bool) io.ReadCloser {
	body := limitedBody{ReadCloser: resp.Body, left: maxAnswer, tooLarge: tooLarge}
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mediaType == "text/event-stream" {
		return &eventBody{limitedBody: body, listen: listen}
	}
	return &body
}

// limitedBody is a body of which only so much is read.
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

// eventBody is an event stream. A stream of notifications may go on for ever, in events of a limited size. The stream
// that answers a request is limited as a whole, and ends with the answer: a second one would leave a goroutine of
// mcp-go waiting for a reader that has gone.
type eventBody struct {
	limitedBody
	listen bool
	event  []byte // What has come of the present event.
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
		b.event, b.line = nil, 0 // Not kept: streams of notifications live long and are mostly silent.
	}
	return n, err
}

// answers reports whether event is a response to a request, rather than a notification or a request of the server's.
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
