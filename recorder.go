package aibridged

import (
	"context"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/recording"
	"github.com/coder/aibridged/proto"
)

// recorder records for the bridges of a pool, into what the pool's clients are of. It is safe for concurrent use.
type recorder struct {
	clientFn ClientFunc
}

var _ aibridge.Recorder = recorder{}

// Record implements [aibridge.Recorder]. A client of a [Server] takes records into the server's queue. Any other is the
// control plane itself, which a pool without a server has.
func (r recorder) Record(ctx context.Context, records ...aibridge.Record) (aibridge.Commit, error) {
	client, err := r.clientFn()
	if queue, ok := client.(aibridge.Recorder); ok && err == nil {
		return queue.Record(ctx, records...)
	}
	direct := recording.Direct{ClientFn: func() (proto.DRPCRecorderClient, error) { return r.clientFn() }}
	return direct.Record(ctx, records...)
}
