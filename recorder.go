package aibridged

import (
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/recording"
	"github.com/coder/aibridged/proto"
)

// recordingPool is a [Pooler] whose bridges record into what it is told, such as [CachedBridgePool]. A [Server] tells it
// of its own queue before the first Acquire.
type recordingPool interface {
	RecordInto(recorder aibridge.Recorder)
}

var _ recordingPool = (*CachedBridgePool)(nil)

// RecordInto makes the bridges that are built from now on record into recorder. [NewServer] calls it with the queue that
// keeps records until the control plane has them. Without it, as in a pool that no server uses, they record straight to
// the control plane, through the ClientFunc that Acquire is given, and a record that the control plane does not take
// within ten seconds is an error. A Pooler of a host's own that wraps a CachedBridgePool passes the call on. It is safe
// for concurrent use.
func (p *CachedBridgePool) RecordInto(recorder aibridge.Recorder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorder = recorder
}

// recorderOf returns what a bridge records into.
func (p *CachedBridgePool) recorderOf(clientFn ClientFunc) aibridge.Recorder {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.recorder != nil {
		return p.recorder
	}
	return recording.Direct{ClientFn: func() (proto.DRPCRecorderClient, error) { return clientFn() }}
}
