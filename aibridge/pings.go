package aibridge

import (
	"time"

	"github.com/coder/aibridged/internal/contain"
)

// meanwhile calls do and returns when it has ended. If the client has begun to get a stream, do runs in a goroutine of its
// own, and the stream is kept alive meanwhile. If the client takes nothing more, the context of the request ends.
func (x *relay) meanwhile(do func()) {
	if !x.client.started || !x.inspected.Stream {
		do()
		return
	}
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed = contain.Call(func() error {
			do()
			return nil
		})
	}()
	ticker := time.NewTicker(x.tools.limits.Ping)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			if failed != nil {
				panic(failed) // As if do had been called here.
			}
			return
		case <-ticker.C:
			if x.ping() != nil {
				x.tools.cancel()
			}
		}
	}
}

// ping sends what keeps the client's stream alive.
func (x *relay) ping() error {
	x.tools.ready = x.tools.joint.Ping(x.tools.ready[:0])
	return x.write(x.tools.ready)
}

// joinedPassing is the passage of a stream that may be one of several rounds: the joint says what goes on.
type joinedPassing struct {
	x     *relay
	round *round
}

func (joinedPassing) add([]byte) {}

func (joinedPassing) finish() {}

// take returns the bytes for the client since the last call: a ping if there have been none for long.
func (p joinedPassing) take() []byte {
	ready := p.round.ready
	p.round.ready = ready[:0]
	use := p.x.tools
	if now := time.Now(); len(ready) > 0 || use.wrote.IsZero() {
		use.wrote = now
	} else if now.Sub(use.wrote) >= use.limits.Ping {
		use.wrote = now
		ready = use.joint.Ping(ready)
	}
	return ready
}
