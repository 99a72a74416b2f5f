package dbpubsub

import "context"

// subscription calls one listener, from a goroutine of its own.
type subscription struct {
	ctx      context.Context // Ends with the subscription.
	end      context.CancelFunc
	listener ListenerWithErr

	queue   chan []byte
	dropped chan struct{} // Holds a token if messages were dropped and the listener does not know of it yet.
}

// offer queues message, or drops it and notes that.
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
		if s.ctx.Err() != nil { // If both were ready, select may have chosen the message.
			return
		}
		s.listener(s.ctx, message, err)
	}
}
