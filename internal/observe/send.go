package observe

import (
	"context"
	"net/http"

	"github.com/google/uuid"
)

// Interception says which interception an upstream request belongs to. Its header and its body are the client's: they
// are only read, and not after [Send] has returned.
type Interception struct {
	ID uuid.UUID
	// Round counts the upstream requests of one interception, from zero. Of several with the same number, only the last
	// one is kept.
	Round int
	// Format is the name of the wire format: "messages", "chat" or "responses".
	Format string
	// Path is the escaped path of the client's request, below the provider's name.
	Path string
	// Header is the header of the client's request.
	Header http.Header
	// Body is the body of the client's request, as the client sent it.
	Body []byte
}

// Watches reports whether transport, or one that it sends through, wants the Interception of a request. Where none
// does, [Send] is not needed.
func Watches(transport http.RoundTripper) bool {
	w, ok := transport.(interface{ watches() bool })
	return ok && w.watches()
}

// Send sends r through next, as next.RoundTrip does, and shows the interception to the transports that watch.
func Send(next http.RoundTripper, r *http.Request, interception Interception) (*http.Response, error) {
	// The context lives as long as the answer, and must not hold the client's request for so long.
	defer func() { interception = Interception{} }()
	return next.RoundTrip(tell(r, &interception))
}

type interceptionKey struct{}

func tell(r *http.Request, interception *Interception) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), interceptionKey{}, interception))
}

// told returns the Interception that r was sent for, and whether there is one.
func told(r *http.Request) (Interception, bool) {
	interception, ok := r.Context().Value(interceptionKey{}).(*Interception)
	if !ok || interception.ID == uuid.Nil {
		return Interception{}, false
	}
	return *interception, true
}
