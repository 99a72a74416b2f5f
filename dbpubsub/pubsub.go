// Package dbpubsub tells all parts of a program, or all processes on a database, that something has happened:
//
//	ps := dbpubsub.NewInMemory()
//	defer ps.Close()
//	cancel, err := ps.Subscribe(dbpubsub.ProvidersChanged, func(ctx context.Context, _ []byte) {
//		reload(ctx)
//	})
//	if err != nil {
//		return err
//	}
//	defer cancel()
//	err = ps.Publish(dbpubsub.ProvidersChanged, nil)
//
// A message means "look again". It is not a record of what happened: messages can get lost, and nobody is told what was
// published before they subscribed.
package dbpubsub

import (
	"context"
	"errors"
)

// ErrDroppedMessages is what a [ListenerWithErr] hears where messages were lost that it should have got: because it is
// slower than they come, or because a connection broke. What it knows from messages may be out of date.
var ErrDroppedMessages = errors.New("dropped messages")

// errClosed is what a Pubsub answers after its Close.
var errClosed = errors.New("pubsub is closed")

// Listener hears the messages of an event. It is called with one at a time, in the order in which they were published.
// It shares the message with other listeners and must not change it. Ctx ends when the subscription does.
type Listener func(ctx context.Context, message []byte)

// ListenerWithErr is a [Listener] that also hears of lost messages: then err is [ErrDroppedMessages] and there is no
// message.
type ListenerWithErr func(ctx context.Context, message []byte, err error)

// Pubsub carries messages from those who publish an event to those who subscribe to it. All of its methods are safe for
// concurrent use.
type Pubsub interface {
	// Subscribe calls listener with every message of event that is published from now on, until cancel is called.
	//
	// Cancel ends the context of a call of listener that has begun, does not wait for it, and lets no further one begin.
	// So a listener may cancel its own subscription. Calling it again does nothing.
	Subscribe(event string, listener Listener) (cancel func(), err error)
	// SubscribeWithErr is Subscribe for listeners that want to know of lost messages.
	SubscribeWithErr(event string, listener ListenerWithErr) (cancel func(), err error)
	// Publish hands message to the subscribers of event and waits for none of them. The message remains the caller's.
	Publish(event string, message []byte) error
	// Close ends all subscriptions and waits until no listener runs any more; a listener must not call it. What has not
	// been delivered is lost. Calling it again only waits. Publish and the Subscribes fail from then on.
	Close() error
}
