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
// A message means "look again". It is not a record of what happened: messages can get lost, and a subscriber does not
// get what was published before it subscribed.
package dbpubsub

import (
	"context"
	"errors"
)

// ErrDroppedMessages tells a [ListenerWithErr] that it has lost messages, because it was slower than they came, or
// because a connection broke. What it learned from earlier messages may be out of date.
var ErrDroppedMessages = errors.New("dropped messages")

// errClosed is the error of a Pubsub's methods after its Close.
var errClosed = errors.New("pubsub is closed")

// Listener is called with each message of an event, one at a time, in the order in which they were published. Other
// listeners get the same slice, so a listener must not change it. Ctx ends when the subscription does.
type Listener func(ctx context.Context, message []byte)

// ListenerWithErr is a [Listener] that is also called when messages were lost, with the error [ErrDroppedMessages] and
// no message.
type ListenerWithErr func(ctx context.Context, message []byte, err error)

// Pubsub carries messages from the publishers of an event to its subscribers. All of its methods are safe for
// concurrent use.
type Pubsub interface {
	// Subscribe calls listener with every message of event that is published from now on, until cancel is called.
	//
	// Cancel ends the context of a running call of listener, does not wait for that call, and lets no further one
	// begin. So a listener may cancel its own subscription. A second cancel does nothing.
	Subscribe(event string, listener Listener) (cancel func(), err error)
	// SubscribeWithErr is Subscribe for listeners that want to know of lost messages.
	SubscribeWithErr(event string, listener ListenerWithErr) (cancel func(), err error)
	// Publish hands message to the subscribers of event and waits for none of them. The message remains the caller's.
	Publish(event string, message []byte) error
	// Close ends all subscriptions and waits until no listener runs any more, so a listener must not call it. Messages
	// that are not delivered yet are lost. A second Close only waits. Publish, Subscribe and SubscribeWithErr fail from
	// then on.
	Close() error
}
