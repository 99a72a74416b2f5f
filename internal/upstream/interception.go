package upstream

import (
	"context"
	"net/http"

	"github.com/google/uuid"
)

// Interception says what an upstream request is sent for. Its header and its body are the client's, not to be changed,
// and not to be kept beyond the RoundTrip of the request whose context they are in.
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
func WithInterception(ctx context.Context, interception Interception) context.Context {
	return context.WithValue(ctx, interceptionKey{}, interception)
}

// InterceptionFrom returns the interception that a context carries, and whether it carries one.
func InterceptionFrom(ctx context.Context) (Interception, bool) {
	interception, ok := ctx.Value(interceptionKey{}).(Interception)
	return interception, ok
}
