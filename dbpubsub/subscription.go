package dbpubsub

import "context"

// subscription calls one listener, from a goroutine of its own.
type subscription struct {
	ctx      context.Context // Ends with the subscription.
	end      context.CancelFunc
	listener ListenerWithErr

	queue   chan []byte
	dropped chan struct{} // Holds a token where messages were dropped since the listener last heard of it.
}

// offer queues message, or notes that it is dropped.
func (s *subscription) offer(message []byte) {
	select {
	case s.queue <- message:
	default:
		select {
		case s.dropped <- struct{}{}:
		default:
		}
	}
}

// deliver calls the listener until the subscription ends.
func (s *subscription) deliver() {
	for {
		var message []byte
		var err error
		select {
		case <-s.ctx.Done():
			return
		case <-s.dropped:
			err = ErrDroppedMessages
		case message = <-s.queue:
		}
		if s.ctx.Err() != nil { // Select may have preferred a message.
			return
		}
		s.listener(s.ctx, message, err)
	}
}
