package mcp

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

func body(contentType, text string, awaited stream, chop func(io.Reader) io.Reader) (io.Reader, *atomic.Bool) {
	mark := new(atomic.Bool)
	resp := &http.Response{
		Header: http.Header{"Content-Type": {contentType}},
		Body:   io.NopCloser(chop(strings.NewReader(text))),
	}
	return boundedBody(resp, awaited, mark), mark
}

func whole(r io.Reader) io.Reader { return r }

func TestStreamEndsWithTheAnswer(t *testing.T) {
	const answer = `data: {"jsonrpc":"2.0","id":1,"result":{}}`
	for name, test := range map[string]struct{ text, want string }{
		"one":            {answer + "\n\nmore", answer + "\n\n"},
		"CRLF":           {answer + "\r\n\r\n" + answer + "\r\n\r\n", answer + "\r\n\r\n"},
		"later":          {"data: {\"method\":\"x\"}\n\n: comment\n\n\n" + answer + "\n\n" + answer, "data: {\"method\":\"x\"}\n\n: comment\n\n\n" + answer + "\n\n"},
		"over two lines": {"data: {\"id\":\ndata: 1}\n\nmore", "data: {\"id\":\ndata: 1}\n\n"},
		"a request":      {"data: {\"id\":1,\"method\":\"x\"}\n\nmore", "data: {\"id\":1,\"method\":\"x\"}\n\nmore"},
		"null":           {"data: {\"id\":null}\n\nmore", "data: {\"id\":null}\n\nmore"},
		"not ended":      {answer, answer},
		"empty":          {"", ""},
	} {
		for chopping, chop := range map[string]func(io.Reader) io.Reader{"whole": whole, "by byte": iotest.OneByteReader, "by halves": iotest.HalfReader} {
			t.Run(name+" "+chopping, func(t *testing.T) {
				r, _ := body("text/event-stream; charset=utf-8", test.text, oneAnswer, chop)
				if got, err := io.ReadAll(r); err != nil || string(got) != test.want {
					t.Errorf("read %q, %v, want %q", got, err, test.want)
				}
			})
		}
	}
}

func TestStreamOfChangesEndsWithTheAnswer(t *testing.T) {
	const change, answer = "data: {\"method\":\"x\"}\n\n", "data: {\"id\":1}\n\n"
	for awaited, want := range map[stream]string{changesThenAnswer: change + answer, changes: change + answer + answer} {
		r, _ := body("text/event-stream", change+answer+answer, awaited, whole)
		if got, err := io.ReadAll(r); err != nil || string(got) != want {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	event := "data: " + strings.Repeat("x", maxAnswer/2) + "\n\n"
	for name, test := range map[string]struct {
		contentType, text string
		awaited           stream
		tooLarge          bool
	}{
		"JSON":                        {"application/json", strings.Repeat("x", maxAnswer), oneAnswer, false},
		"too much JSON":               {"application/json", strings.Repeat("x", maxAnswer+1), oneAnswer, true},
		"too many events":             {"text/event-stream", event + event, oneAnswer, true},
		"many notifications":          {"text/event-stream", strings.Repeat(event, 5), changes, false},
		"too large a notification":    {"text/event-stream", event + strings.Repeat("data: xxxxxxxxxx\n", maxAnswer/16), changes, true},
		"many changes, no answer yet": {"text/event-stream", strings.Repeat(event, 5), changesThenAnswer, false},
		"many lines, no event ends":   {"text/event-stream", strings.Repeat("data: x\n", maxAnswer/8+1), changes, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, mark := body(test.contentType, test.text, test.awaited, whole)
			n, err := io.Copy(io.Discard, r)
			if test.tooLarge != errors.Is(err, ErrTooLarge) || test.tooLarge != mark.Load() {
				t.Errorf("error %v, marked %v", err, mark.Load())
			}
			if !test.tooLarge && n != int64(len(test.text)) {
				t.Errorf("%d bytes of %d", n, len(test.text))
			}
		})
	}
}
