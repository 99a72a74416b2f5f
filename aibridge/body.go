package aibridge

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/coder/aibridged/internal/apierror"
)

// readBody reads a request's body whole: ReverseProxy loses answers that come before the body has gone, and a client
// that leaves is only noticed once its body has been read. The body is in a buffer of buffers, where it goes back by way
// of its [sentBody]. The error is an *[apierror.Error].
func readBody(w http.ResponseWriter, r *http.Request, limits Limits, buffers *bodyBuffers) ([]byte, error) {
	tooLarge := &apierror.Error{Status: http.StatusRequestEntityTooLarge, Text: "request body too large"}
	if r.ContentLength > limits.RequestBody {
		return nil, tooLarge
	}
	body := http.MaxBytesReader(w, r.Body, limits.RequestBody)
	controller := http.NewResponseController(w)

	data := buffers.lend(r.ContentLength + 1) // One more, to see the end without growing.
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		_ = controller.SetReadDeadline(time.Now().Add(limits.RequestBodyIdle))
		n, err := body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			// The deadline must not outlive the body: net/http goes on reading to notice that the client left.
			_ = controller.SetReadDeadline(time.Time{})
			return data, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			// It stays, or net/http would wait for the rest of the body before it answers.
			w.Header().Set("Connection", "close")
			return nil, &apierror.Error{Status: http.StatusRequestTimeout, Text: "request body did not arrive in time", Cause: err}
		default:
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				w.Header().Set("Connection", "close") // For the same reason.
				return nil, tooLarge
			}
			return nil, &apierror.Error{Status: http.StatusBadRequest, Text: "request body could not be read", Cause: err}
		}
	}
}
