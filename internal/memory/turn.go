package memory

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// ErrNoTurn means that other large bodies took too long.
var ErrNoTurn = errors.New("other large bodies are being read")

// longestWait is how long a body waits for its turn.
const longestWait = 15 * time.Second

// turns returns how many large bodies may be worked on at the same time: half as many as there are processors, so that
// small requests find one free.
func turns() int { return max(1, runtime.GOMAXPROCS(0)/2) }

// Turn waits until it is a body's turn to be decoded or read through, which takes processor time and, for a body made
// to do so, several times its size in memory. Only bodies above [Large] wait. It returns a function that the caller
// calls when it is done with that. It fails with [ErrNoTurn] after 15 seconds, or with the context's error.
func (p *Pool) Turn(ctx context.Context, size int64) (done func(), err error) {
	if p == nil || size <= Large {
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, longestWait, ErrNoTurn)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
		return func() { <-p.turns }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
