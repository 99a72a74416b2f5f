package bedrock

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/invokestream"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/upstream"
)

// mostError is how much of the body of an error is read.
const mostError = 1 << 20

// invoke sends a request of the Messages API, which is the transport's own, to InvokeModel, and returns the answer as one of
// that API.
func (t *transport) invoke(out *http.Request, body []byte) (*http.Response, error) {
	invocation, err := t.rewrite(out.Header, body)
	if err != nil {
		return nil, err
	}
	upstream.Tell(out.Context(), invocation.sent)
	size := int64(len(body))
	for _, edit := range invocation.edits {
		size += int64(len(edit.New))
	}
	if err := t.memory.Take(size); err != nil {
		return nil, upstream.NoMemory(err)
	}
	defer t.memory.Give(size)
	edited, err := jsonedit.Splice(body, invocation.edits...)
	if err != nil {
		return nil, err
	}
	upstream.SetBody(out, edited)
	upstream.SetURL(out, t.base, invocation.path)
	out.URL.RawQuery = ""
	out.Header.Del("Anthropic-Beta") // Both are in the body.
	out.Header.Del("Anthropic-Version")
	out.Header.Set("Accept", "application/json")
	out.Header.Set("Content-Type", "application/json")
	answer, err := t.send(out, edited)
	if err != nil {
		return nil, err
	}
	if id := answer.Header.Get("X-Amzn-Requestid"); id != "" && answer.Header.Get("Request-Id") == "" {
		answer.Header.Set("Request-Id", id) // Where clients of the Messages API look for it.
	}
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	switch {
	case answer.StatusCode >= http.StatusBadRequest:
		return failed(answer)
	case media == invokestream.MediaType:
		return t.translated(answer)
	}
	return answer, nil
}

// failed returns an error of Bedrock's as one of the Messages API: the same status, and the same words.
func failed(answer *http.Response) (*http.Response, error) {
	body, err := readError(answer)
	if err != nil {
		return nil, err
	}
	exception, isForeign := invokestream.FromAnswer(answer.Header.Get("X-Amzn-Errortype"), body)
	if !isForeign {
		body = exception.BodyFor(answer.StatusCode)
	}
	return replaced(answer, answer.StatusCode, body), nil
}

// replaced returns an answer with another status and body, which is JSON.
func replaced(answer *http.Response, status int, body []byte) *http.Response {
	answer.StatusCode, answer.Status = status, strconv.Itoa(status)+" "+http.StatusText(status)
	answer.Header.Del("Content-Encoding")
	answer.Header.Set("Content-Type", "application/json")
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	answer.TransferEncoding, answer.Trailer = nil, nil
	answer.ContentLength = int64(len(body))
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer
}

// translated returns an answer of frames as one of server-sent events. It waits for the first frame: if that is an
// exception, the answer gets its status. A silent upstream is waited for as long as a client may be left without a ping.
func (t *transport) translated(answer *http.Response) (*http.Response, error) {
	if coding := answer.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		_ = answer.Body.Close() // The answer is refused in any case.
		return nil, &apierror.Error{Status: http.StatusBadGateway, Text: "upstream gave an invalid answer: its event stream is coded"}
	}
	stream := newStream(answer.Body, t.memory)
	exception, err := stream.begin()
	if err != nil || exception != nil {
		_ = stream.Close()
	}
	switch {
	case err != nil:
		return nil, err
	case exception != nil:
		return replaced(answer, exception.Status(), exception.Body()), nil
	}
	answer.Header.Set("Content-Type", "text/event-stream")
	answer.Header.Del("Content-Length")
	answer.ContentLength = -1
	answer.Body = stream
	return answer, nil
}
