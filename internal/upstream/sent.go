package upstream

import "context"

// Sent is what a RoundTripper has made of a request that decides what the answer costs.
type Sent struct {
	// Model is what the upstream calls the model. Empty: as the request does.
	Model string
	// ShortCache says that the upstream keeps what it caches for five minutes, though the request may have asked for an hour: the
	// model knows nothing else.
	ShortCache bool
}

type sentKey struct{}

// WithSent returns a context for a request whose RoundTripper tells to what it has made of it.
func WithSent(ctx context.Context, to *Sent) context.Context {
	return context.WithValue(ctx, sentKey{}, to)
}

// Tell tells what has been made of a request with that context, if somebody asked. It is called before the request is sent.
func Tell(ctx context.Context, sent Sent) {
	if to, ok := ctx.Value(sentKey{}).(*Sent); ok {
		*to = sent
	}
}
