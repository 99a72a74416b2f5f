package observe

import "sync"

// background hands work to a goroutine of its own, so that no request waits for it.
type background[T any] struct {
	queue  chan T
	done   chan struct{} // Closed by close.
	once   sync.Once
	worker sync.WaitGroup
}

// newBackground starts the goroutine. It calls do for each item of the queue, which has room for that many, until close
// is called and the queue is empty; then it calls end.
func newBackground[T any](room int, do func(T), end func()) *background[T] {
	b := &background[T]{queue: make(chan T, room), done: make(chan struct{})}
	b.worker.Go(func() {
		defer end()
		b.run(do)
	})
	return b
}

func (b *background[T]) run(do func(T)) {
	for {
		select {
		case item := <-b.queue:
			do(item)
		case <-b.done:
			for {
				select {
				case item := <-b.queue:
					do(item)
				default:
					return
				}
			}
		}
	}
}

// closed reports whether close was called: items that come later are not processed.
func (b *background[T]) closed() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// close waits until the queue is empty and the goroutine has ended. It can be called more than once.
func (b *background[T]) close() {
	b.once.Do(func() { close(b.done) })
	b.worker.Wait()
}
