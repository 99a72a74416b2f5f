package dbpubsub

import (
	"bytes"
	"context"
	"sync"
)

// queueSize is how many messages wait for a listener before further ones are dropped.
const queueSize = 64

// memory is a Pubsub within one process.
type memory struct {
	mu            sync.Mutex // Guards what follows.
	closed        bool
	subscriptions map[string]map[*subscription]struct{} // By event.

	running sync.WaitGroup // The goroutines of all subscriptions.
}

// NewInMemory returns a Pubsub within this process. The caller closes it.
//
// Each subscription has a queue of 64 messages. While it is full, further messages are dropped.
func NewInMemory() Pubsub {
	return &memory{subscriptions: map[string]map[*subscription]struct{}{}}
}

func (m *memory) Subscribe(event string, listener Listener) (cancel func(), err error) {
	return m.SubscribeWithErr(event, func(ctx context.Context, message []byte, err error) {
		if err == nil {
			listener(ctx, message)
		}
	})
}

func (m *memory) SubscribeWithErr(event string, listener ListenerWithErr) (cancel func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	ctx, end := context.WithCancel(context.Background())
	s := &subscription{
		ctx:      ctx,
		end:      end,
		listener: listener,
		queue:    make(chan []byte, queueSize),
		dropped:  make(chan struct{}, 1),
	}
	if m.subscriptions[event] == nil {
		m.subscriptions[event] = map[*subscription]struct{}{}
	}
	m.subscriptions[event][s] = struct{}{}
	m.running.Go(s.deliver)
	return func() { m.cancel(event, s) }, nil
}

func (m *memory) cancel(event string, s *subscription) {
	m.mu.Lock()
	delete(m.subscriptions[event], s)
	if len(m.subscriptions[event]) == 0 {
		delete(m.subscriptions, event)
	}
	m.mu.Unlock()
	s.end()
}

func (m *memory) Publish(event string, message []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	message = bytes.Clone(message)
	for s := range m.subscriptions[event] {
		s.offer(message)
	}
	return nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	m.closed = true
	subscriptions := m.subscriptions
	m.subscriptions = nil
	m.mu.Unlock()
	for _, ofEvent := range subscriptions {
		for s := range ofEvent {
			s.end()
		}
	}
	m.running.Wait()
	return nil
}
