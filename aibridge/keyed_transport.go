package aibridge

import (
	"net/http"

	"github.com/coder/aibridged/internal/keys"
)

// keyedTransport sends a request that is passed through once more, with another key, if its key is refused.
type keyedTransport struct {
	next  http.RoundTripper
	keyed *keyed
	// used is called after each answer, with what it says of its key, when the key for the next one has been chosen.
	used func(keys.Verdict)
	// header returns the header of the request with the key that has been chosen.
	header func() http.Header
}

// RoundTrip implements [http.RoundTripper]. The request has a GetBody.
func (t keyedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		answer, err := t.next.RoundTrip(r)
		if err != nil {
			if r.Context().Err() == nil {
				t.keyed.pool.Failed(t.keyed.choice)
			}
			return nil, err
		}
		verdict, again, err := t.keyed.next(answer, func() []byte {
			_, plain := readRefusal(answer)
			return plain
		})
		t.used(verdict)
		if !again && err == nil {
			return answer, nil
		}
		_ = answer.Body.Close()
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		agent := r.Header["User-Agent"] // The proxy sets it, so that net/http sends none of its own.
		r.Header = t.header()
		r.Header["User-Agent"] = agent
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
}
