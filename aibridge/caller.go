package aibridge

import (
	"context"
	"net/http"

	"github.com/coder/aibridged/internal/credential"
)

// Actor is who a request is made for: a user that the control plane vouched for.
type Actor struct {
	// ID is the owner's UUID. The records call it the initiator.
	ID string
	// Metadata describes the actor in records, for example by a user name. Nothing sensitive belongs here.
	Metadata Metadata
}

// Caller is what the gateway knows about the sender of a request. It is made once, when the request is authorised. The
// zero Caller is an unknown sender.
type Caller struct {
	// Actor is who the request is made for.
	Actor Actor
	// Credential says whose credential goes upstream. Empty means the caller's own where the request has one, and the
	// provider's key where it has none.
	Credential CredentialKind
	// Token is the gateway's token in the request. What holds it, encoded or not, does not go upstream: a header, a
	// parameter of the query. A path that holds it is refused. The body is not searched. Empty: there is none.
	Token string
	// FindToken returns where in a text the first token of the gateway begins and ends, by its form alone, or a start
	// below zero. What holds any such token is treated like what holds Token. It is called for each part of each request,
	// also concurrently. Nil: the form of Coder's API keys.
	FindToken func(text string) (start, end int)
}

// tokens returns what must not go upstream of the caller's requests.
func (c Caller) tokens() credential.Tokens { return credential.TokensOf(c.Token, c.FindToken) }

type callerKey struct{}

// WithCaller returns a context whose requests are the caller's.
func WithCaller(ctx context.Context, caller Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, &caller)
}

// CallerFromContext returns the caller that WithCaller or [AsActor] put into ctx, or the zero Caller.
func CallerFromContext(ctx context.Context) Caller {
	if caller, ok := ctx.Value(callerKey{}).(*Caller); ok {
		return *caller
	}
	return Caller{}
}

// AsActor returns a context whose requests are made for actor. The rest of the Caller in ctx stays as it is.
func AsActor(ctx context.Context, actor Actor) context.Context {
	caller := CallerFromContext(ctx)
	caller.Actor = actor
	return WithCaller(ctx, caller)
}

// ActorFromContext returns the actor that AsActor or WithCaller put into ctx, and whether there was one.
func ActorFromContext(ctx context.Context) (Actor, bool) {
	caller, ok := ctx.Value(callerKey{}).(*Caller)
	if !ok {
		return Actor{}, false
	}
	return caller.Actor, true
}

// The names of the headers that a request's token is read from, in their order. See [ExtractAuthToken].
const (
	HeaderGovernanceToken = "X-Coder-AI-Governance-Token"
	HeaderAuthorization   = "Authorization"
	HeaderAPIKey          = "X-Api-Key"
)

// ExtractAuthToken returns the gateway's token that a request presents: the governance header, else a bearer token,
// else X-Api-Key, else an empty string. White space around it is trimmed.
func ExtractAuthToken(header http.Header) string { return credential.Token(header) }

// IsBYOK reports whether a caller brings a provider credential of their own, which is so if the governance header is
// there.
func IsBYOK(header http.Header) bool { return len(header.Values(HeaderGovernanceToken)) > 0 }
