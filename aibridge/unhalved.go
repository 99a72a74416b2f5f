package aibridge

import (
	"io"
	"net/http"

	"github.com/coder/aibridged/internal/jsonedit"
)

// unhalved is the body of an answer that says that it is JSON. If it ends in the middle of its value, the end is an error:
// in framings in which an answer ends with its connection, nothing else shows that half of it is missing.
type unhalved struct {
	io.ReadCloser

	json jsonedit.Prefix
}

// withoutHalves makes an answer's body unhalved, if it is JSON without a content coding.
func withoutHalves(answer *http.Response) {
	if mediaType(answer) == "application/json" && !isCoded(codingOf(answer.Header)) && answer.StatusCode < http.StatusMultipleChoices {
		answer.Body = &unhalved{ReadCloser: answer.Body}
	}
}

// Read implements [io.Reader].
func (u *unhalved) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	u.json.Feed(p[:n])
	if err == io.EOF && u.json.Cut() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
