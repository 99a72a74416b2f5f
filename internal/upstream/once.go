package upstream

import (
	"net/http"
	"strings"
)

// sendOnce returns r, which the caller owns, as a request that net/http does not replay in secret: a replay of what has
// reached an upstream may be paid for twice, and whether to try again is for the retry policy to say.
//
// net/http sends a request again, when a reused connection dies before the answer, if it can get the body again and
// takes the request for idempotent. So there is no GetBody, which leaves every request with a body at one attempt; and
// the headers that declare a POST idempotent go by a spelling that net/http does not look for. What remains has no
// body: GET, HEAD, OPTIONS and TRACE, which HTTP allows to be repeated, and what an HTTP/2 server refused untouched.
// https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2
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
