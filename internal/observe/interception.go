package upstream

import (
	"context"
	"net/http"

	"github.com/google/uuid"
)

// Interception says what an upstream request is sent for. Its header and its body are the client's, not to be changed, and
// there until the RoundTrip of the request whose context they are in returns: a context lives as long as its answer, which
// must not hold its request.
type Interception struct {
	ID uuid.UUID
	// Round counts the upstream requests of one interception, from zero.
	Round int
	// Format is the name of the wire format: "messages", "chat" or "responses".
	Format string
	// Header is the header of the client's request.
	Header http.Header
	// Request is the body of the client's request, as the client sent it.
	Request []byte
}

type interceptionKey struct{}

// WithInterception returns a context that carries an interception.
func WithInterception(ctx context.Context, interception *Interception) context.Context {
	return context.WithValue(ctx, interceptionKey{}, interception)
}

// InterceptionFrom returns the interception that a context carries, nil where it carries none.
func InterceptionFrom(ctx context.Context) *Interception {
	interception, _ := ctx.Value(interceptionKey{}).(*Interception)
	return interception
}

// Forget lets go of what is the client's.
func (i *Interception) Forget() { i.Header, i.Request = nil, nil }
