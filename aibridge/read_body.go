package aibridge

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/contentcoding"
)

// readBody reads the whole body of a request. The body can then be judged before it is sent, and sent again; and
// net/http notices that a client left only once its body has been read. The caller holds the body. The error is an
// *[apierror.Error].
func readBody(w http.ResponseWriter, r *http.Request, limits Limits, buffers *bodyBuffers) (*body, error) {
	tooLarge := &apierror.Error{Status: http.StatusRequestEntityTooLarge, Text: "request body too large"}
	if r.ContentLength > limits.RequestBody {
		return nil, tooLarge
	}
	if r.ContentLength == 0 {
		return newBody(nil, nil), nil
	}
	controller := http.NewResponseController(w)
	rate := newBodyRate(time.Now(), limits.RequestBodyIdle)
	data := buffers.lend(r.ContentLength + 1) // One byte more, so that Read finds the end without a larger buffer.
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		_ = controller.SetReadDeadline(rate.deadline(time.Now()))
		n, err := r.Body.Read(data[len(data):cap(data)])
		rate.add(time.Now(), n)
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > limits.RequestBody:
			buffers.takeBack(data)
			w.Header().Set("Connection", "close") // Else net/http would read the rest of the body before it answers.
			return nil, tooLarge
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			// The deadline must not outlive the body: net/http goes on reading to notice that the client left.
			_ = controller.SetReadDeadline(time.Time{})
			return newBody(data, buffers), nil
		}
		buffers.takeBack(data)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			// The deadline stays, or net/http would wait for the rest of the body before it answers.
			w.Header().Set("Connection", "close")
			return nil, &apierror.Error{Status: http.StatusRequestTimeout, Text: "request body did not arrive in time", Cause: err}
		}
		return nil, &apierror.Error{Status: http.StatusBadRequest, Text: "request body could not be read", Cause: err}
	}
}

// decodeRequest returns a request's body without its content coding, for inspection.
func decodeRequest(header http.Header, body []byte, limit int64) ([]byte, error) {
	plain, err := contentcoding.Decode(codingOf(header), body, limit)
	switch {
	case err == nil:
		return plain, nil
	case errors.Is(err, contentcoding.ErrUnsupported):
		return nil, &apierror.Error{Status: http.StatusUnsupportedMediaType, Text: "content encoding not supported: send gzip, deflate, br, zstd or none"}
	case errors.Is(err, contentcoding.ErrTooLarge):
		return nil, &apierror.Error{Status: http.StatusRequestEntityTooLarge, Text: "request body too large once decoded"}
	}
	return nil, &apierror.Error{Status: http.StatusBadRequest, Text: "request body is not in its content encoding", Cause: err}
}

// codingOf returns the content coding of a message. Several lines of it are one list.
func codingOf(header http.Header) string { return strings.Join(header["Content-Encoding"], ",") }
