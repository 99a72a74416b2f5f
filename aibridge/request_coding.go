package aibridge

import (
	"errors"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/contentcoding"
)

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

// codingOf returns the content coding of a message, whose several lines are one list.
func codingOf(header http.Header) string { return strings.Join(header.Values("Content-Encoding"), ",") }
