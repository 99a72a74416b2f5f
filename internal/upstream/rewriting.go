package upstream

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/memory"
)

// This file is for RoundTrippers in front of a transport that send another request than they are given.

// retryNoMemory is how long a client is told to wait when there is no memory for its request.
const retryNoMemory = time.Second

// NoMemory returns the refusal of a request for whose body there is no memory, or nil if that is not what err says.
func NoMemory(err error) *apierror.Error {
	switch {
	case errors.Is(err, memory.ErrNever):
		return &apierror.Error{
			Status: http.StatusRequestEntityTooLarge, Text: "request body too large for the memory that the gateway may use", Cause: err,
		}
	case !errors.Is(err, memory.ErrExhausted) && !errors.Is(err, memory.ErrNoTurn):
		return nil
	}
	return &apierror.Error{
		Status: http.StatusServiceUnavailable, Text: "the gateway has no memory for another request of this size at the moment: try again",
		RetryAfter: retryNoMemory, Cause: err,
	}
}

// ReadBody reads the body of a request into a buffer that pool has lent, and closes it. If there is no memory, the error is
// that of [NoMemory]. The buffer is nil if the request has no body.
func ReadBody(r *http.Request, pool *memory.Pool) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	defer func() { _ = r.Body.Close() }()
	body, err := pool.Lend(r.ContentLength)
	for err == nil {
		if int64(len(body)) == r.ContentLength {
			return body, nil
		}
		if len(body) == cap(body) {
			var larger []byte
			if larger, err = pool.Grow(body, r.ContentLength); err != nil {
				break
			}
			body = larger
		}
		var n int
		n, err = r.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
	}
	if errors.Is(err, io.EOF) {
		return body, nil
	}
	pool.TakeBack(body)
	if refusal := NoMemory(err); refusal != nil {
		return nil, refusal
	}
	return nil, err
}

// SetBody makes body the body of a request that has not been sent. It is not copied, and may be sent several times.
func SetBody(r *http.Request, body []byte) {
	r.Body, r.GetBody, r.ContentLength, r.TransferEncoding = http.NoBody, nil, int64(len(body)), nil
	if len(body) > 0 {
		again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		r.GetBody = again
		r.Body, _ = again()
	}
}

// SetURL makes the address of a request that of an escaped path below base. The query stays.
func SetURL(r *http.Request, base *url.URL, escapedPath string) {
	path, err := url.PathUnescape(escapedPath)
	if err != nil {
		path = escapedPath // It cannot happen: the path was judged, or is the gateway's own.
	}
	target := *base
	target.Path, target.RawPath = base.Path+path, base.EscapedPath()+escapedPath
	target.RawQuery = r.URL.RawQuery
	r.URL, r.Host = &target, ""
}

// ModelSegment returns the id of a model, which a client may have written, as one segment of a path, and whether it can be
// one: its colons stay, its slashes are escaped, and a server that unescapes these finds no other path. An empty id cannot.
func ModelSegment(id string) (string, bool) {
	for part := range strings.SplitSeq(id, "/") {
		if strings.Trim(part, ".") == "" || strings.ContainsAny(part, "\\\x00") {
			return "", false
		}
	}
	return url.PathEscape(id), true
}
