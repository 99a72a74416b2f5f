package upstream

import (
	"net/http"
	"strings"
)

// sendOnce changes r, which the caller owns, so that net/http does not send it again by itself, and returns it. A
// request that reaches an upstream twice may be paid for twice, and whether to try again is the caller's decision.
//
// When a reused connection dies before the answer, net/http sends a request again if it can get the body again and
// takes the request for idempotent. So GetBody is removed, which limits a request with a body to one attempt; and in a
// request without a body, the headers that declare it idempotent get a spelling that net/http does not look for. What
// net/http still repeats has no body: GET, HEAD, OPTIONS and TRACE, which HTTP allows to be repeated, and what an
// HTTP/2 server refused before it did anything. https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
func sendOnce(r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		hideIdempotencyKey(r)
		return r
	}
	r.GetBody = nil
	return r
}

func hideIdempotencyKey(r *http.Request) {
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		values, ok := r.Header[name]
		if !ok {
			continue
		}
		r.Header = r.Header.Clone()
		delete(r.Header, name)
		r.Header[strings.ToLower(name)] = values
	}
}
