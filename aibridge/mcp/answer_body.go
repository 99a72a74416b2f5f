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

type answerMarksKey struct{}

// answerMarks say what became of the answer to one request. They are needed because mcp-go does not return why it could
// not read an answer, nor how far it came.
type answerMarks struct {
	begun    atomic.Bool // The server began to answer.
	tooLarge atomic.Bool
}

// withAnswerMarks returns a context for one request, and the marks of its answer.
func withAnswerMarks(ctx context.Context) (context.Context, *answerMarks) {
	marks := new(answerMarks)
	return context.WithValue(ctx, answerMarksKey{}, marks), marks
}

// marksOf returns the marks in ctx, or new ones if ctx has none.
func marksOf(ctx context.Context) *answerMarks {
	if marks, ok := ctx.Value(answerMarksKey{}).(*answerMarks); ok {
		return marks
	}
	return new(answerMarks)
}

// stream says what a request awaits, if its answer is an event stream.
type stream int

const (
	// oneAnswer is a stream that is limited as a whole and ends with the answer.
	oneAnswer stream = iota
	// changesThenAnswer may go on for ever, with a limit on each event, and ends with an answer.
	changesThenAnswer
	// changes may go on for ever, with a limit on each event. mcp-go awaits no answer in it.
	changes
)

// boundedBody returns resp's body with a limit: on each event if it is a stream of changes, else on the whole.
func boundedBody(resp *http.Response, awaited stream, tooLarge *atomic.Bool) io.ReadCloser {
	body := limitedBody{ReadCloser: resp.Body, left: maxAnswer, tooLarge: tooLarge}
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mediaType == "text/event-stream" {
		return &eventBody{limitedBody: body, awaited: awaited}
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

// eventBody is an event stream. Where an answer is awaited, the stream ends with the first one: further answers would
// leave a goroutine of mcp-go waiting for ever for a reader.
type eventBody struct {
	limitedBody
	awaited stream
	event   []byte // The part of the present event that has arrived.
	line    int    // Where in event its last line begins.
	done    bool
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
		if b.awaited != changes && answers(b.event) {
			b.done = true
			return n - len(rest), nil
		}
		if b.awaited != oneAnswer {
			b.left = maxAnswer - len(rest)
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
