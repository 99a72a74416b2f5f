package aibridge

import "context"

// Actor is who a request is made for: a user that the control plane vouched for.
type Actor struct {
	// ID is the owner's UUID. The records call it the initiator.
	ID string
	// Metadata describes the actor in records, for example by a user name. Nothing sensitive belongs here.
	Metadata Metadata
}

type actorKey struct{}

// AsActor returns a context whose requests are made for actor.
func AsActor(ctx context.Context, actor Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// ActorFromContext returns the actor that AsActor put into ctx, and whether there was one.
func ActorFromContext(ctx context.Context) (Actor, bool) {
	actor, ok := ctx.Value(actorKey{}).(Actor)
	return actor, ok
}
