package observe

import (
	"context"
	"net/http"

	"github.com/google/uuid"
)

// Interception says what an upstream request is sent for. Its header and its body are the client's: they are only read,
// and not any more once [Send] has returned.
type Interception struct {
	ID uuid.UUID
	// Round counts the upstream requests of one interception, from zero. Of several with the same number, only the
	// last one is kept.
	Round int
	// Format is the name of the wire format: "messages", "chat" or "responses".
	Format string
	// Header is the header of the client's request.
	Header http.Header
	// Body is the body of the client's request, as the client sent it.
	Body []byte
}

// Watches reports whether transport, or one that it sends through, asks what a request is sent for. Where none does,
// [Send] is not needed.
func Watches(transport http.RoundTripper) bool {
	w, ok := transport.(interface{ watches() bool })
	return ok && w.watches()
}

// Send sends r through next, as next.RoundTrip does, and lets those who watch on the way know what it is sent for.
func Send(next http.RoundTripper, r *http.Request, interception Interception) (*http.Response, error) {
	// The context lives as long as the answer, which must not hold the client's request for so long.
	defer func() { interception = Interception{} }()
	return next.RoundTrip(tell(r, &interception))
}

type interceptionKey struct{}

func tell(r *http.Request, interception *Interception) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), interceptionKey{}, interception))
}

// told returns what a request is sent for, and whether that is known.
func told(r *http.Request) (Interception, bool) {
	interception, ok := r.Context().Value(interceptionKey{}).(*Interception)
	if !ok || interception.ID == uuid.Nil {
		return Interception{}, false
	}
	return *interception, true
}
