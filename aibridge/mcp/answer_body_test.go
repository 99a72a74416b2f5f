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

func body(contentType, text string, listen bool, chop func(io.Reader) io.Reader) (io.Reader, *atomic.Bool) {
	mark := new(atomic.Bool)
	resp := &http.Response{
		Header: http.Header{"Content-Type": {contentType}},
		Body:   io.NopCloser(chop(strings.NewReader(text))),
	}
	return boundedBody(resp, listen, mark), mark
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
				r, _ := body("text/event-stream; charset=utf-8", test.text, false, chop)
				if got, err := io.ReadAll(r); err != nil || string(got) != test.want {
					t.Errorf("read %q, %v, want %q", got, err, test.want)
				}
			})
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	event := "data: " + strings.Repeat("x", maxAnswer/2) + "\n\n"
	for name, test := range map[string]struct {
		contentType, text string
		listen, tooLarge  bool
	}{
		"JSON":                      {"application/json", strings.Repeat("x", maxAnswer), false, false},
		"too much JSON":             {"application/json", strings.Repeat("x", maxAnswer+1), false, true},
		"too many events":           {"text/event-stream", event + event, false, true},
		"many notifications":        {"text/event-stream", strings.Repeat(event, 5), true, false},
		"too large a notification":  {"text/event-stream", event + strings.Repeat("data: xxxxxxxxxx\n", maxAnswer/16), true, true},
		"many lines, no event ends": {"text/event-stream", strings.Repeat("data: x\n", maxAnswer/8+1), true, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, mark := body(test.contentType, test.text, test.listen, whole)
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
