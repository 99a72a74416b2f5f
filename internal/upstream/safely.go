package upstream

import (
	"net/http"
	"strings"
)

// sendSafely changes r, which the caller owns, so that net/http sends it again by itself only where that is safe, and
// returns it. A request that reaches an upstream twice may be paid for twice.
//
// net/http sends a request again on another connection if it can get the body again and a reused HTTP/1 connection died
// before one byte of the request was written, or an HTTP/2 upstream said, by GOAWAY or REFUSED_STREAM, that it did not
// process the request. Both is safe. It also does so where a reused connection died later, if it takes the request for
// idempotent. So the headers that declare a request idempotent get a spelling that net/http does not look for. What is
// left are GET, HEAD, OPTIONS and TRACE without a body, which HTTP allows to be repeated.
// https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
func sendSafely(r *http.Request) *http.Request {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		values, ok := r.Header[name]
		if !ok {
			continue
		}
		r.Header = r.Header.Clone()
		delete(r.Header, name)
		r.Header[strings.ToLower(name)] = values
	}
	return r
}
