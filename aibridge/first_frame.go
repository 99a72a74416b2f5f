package aibridge

import (
	"bytes"
	"io"
	"net/http"
	"strconv"

	"github.com/coder/aibridged/internal/eventstream"
	"github.com/coder/aibridged/internal/invokestream"
)

// mostFirstFrame is how many bytes of a stream of frames are read to find out whether it begins with an exception. These are
// small.
const mostFirstFrame = 64 << 10

// asFrames is the answer of an upstream whose first frame is an exception. What is judged in its place is an error with the
// exception's status: the request was not worked on, and can go to another key.
type asFrames struct {
	judged *http.Response
	answer *http.Response // With the frames as they came, for the client.
}

// withStatus returns the answer of an upstream or, if that is a stream of frames which begins with an exception, an error in its
// place: see asFrames.
func (x *relay) withStatus(answer *http.Response, err error) (*http.Response, error) {
	x.frames = asFrames{}
	if err != nil || answer.StatusCode != http.StatusOK || mediaType(answer) != invokestream.MediaType || isCoded(codingOf(answer.Header)) {
		return answer, err
	}
	exception, payload := firstException(answer)
	if exception == nil {
		return answer, nil
	}
	judged := *answer
	judged.StatusCode = exception.Status()
	judged.Status = strconv.Itoa(judged.StatusCode) + " " + http.StatusText(judged.StatusCode)
	judged.Header = http.Header{"Content-Type": {"application/json"}, "X-Amzn-Errortype": {exception.Name}}
	for _, name := range [...]string{"Retry-After", "X-Amzn-Requestid"} {
		if values, ok := answer.Header[name]; ok {
			judged.Header[name] = values
		}
	}
	judged.ContentLength = int64(len(payload))
	judged.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(payload), answer.Body}
	x.frames = asFrames{judged: &judged, answer: answer}
	return &judged, nil
}

// firstException reads the first frame of an answer that says something. It returns the exception in it, or nil if it is none,
// and the error of the Messages API that says the same. The answer can still be read from its beginning.
func firstException(answer *http.Response) (*invokestream.Exception, []byte) {
	var (
		frames    eventstream.Splitter
		exception *invokestream.Exception
		before    []byte
		isSeen    bool
		err       error
	)
	for err == nil && !isSeen && len(before) < mostFirstFrame && frames.Err() == nil {
		piece := make([]byte, copyBytes)
		var n int
		n, err = answer.Body.Read(piece)
		before = append(before, piece[:n]...)
		for frame := range frames.Feed(piece[:n]) {
			event, unread := invokestream.Read(frame)
			if !isSeen && (unread != nil || event.Data != nil || event.Exception != nil) {
				isSeen, exception = true, event.Exception
			}
		}
	}
	answer.Body = &replayed{before: before, err: err, ReadCloser: answer.Body}
	if exception == nil {
		return nil, nil
	}
	return exception, exception.Body()
}

// unjudged returns the answer for the client: the frames in the place of what was judged.
func (x *relay) unjudged(answer *http.Response, round *round) *http.Response {
	if x.frames.judged != answer {
		return answer
	}
	round.status = x.frames.answer.StatusCode
	return x.frames.answer
}
