package aibridged

import (
	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/recording"
	"github.com/coder/aibridged/proto"
)

// recordingPool is a [Pooler] whose bridges record into the recorder that it is given, such as [CachedBridgePool]. A
// [Server] gives it its own queue before the first Acquire.
type recordingPool interface {
	RecordInto(recorder aibridge.Recorder)
}

var _ recordingPool = (*CachedBridgePool)(nil)

// RecordInto makes the bridges that are built from now on record into recorder. [NewServer] calls it with the queue
// that keeps records until the control plane has them. Without it, as in a pool that no server uses, bridges record
// straight to the control plane, through the ClientFunc that Acquire is given, and recording fails where the control
// plane does not take a record within ten seconds. A host's own Pooler that wraps a CachedBridgePool must pass the call
// on. RecordInto is safe for concurrent use.
func (p *CachedBridgePool) RecordInto(recorder aibridge.Recorder) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorder = recorder
}

// recorderOf returns the recorder for a bridge.
func (p *CachedBridgePool) recorderOf(clientFn ClientFunc) aibridge.Recorder {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.recorder != nil {
		return p.recorder
	}
	return recording.Direct{ClientFn: func() (proto.DRPCRecorderClient, error) { return clientFn() }}
}
