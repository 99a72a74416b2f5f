package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/coder/aibridged/aibridge"
)

const (
	// trimEvery is how often it is looked whether there is memory to give back.
	trimEvery = 10 * time.Second
	// trimmed is how much memory may be free, or garbage, before it is given back.
	trimmed = 128 << 20
)

// trim gives memory back to the system after many large bodies. The garbage collector would do so too, but when nothing
// happens it waits for minutes, and then goes slowly.
type trim struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

// startTrim starts it. The caller stops it with close.
func startTrim(memory *aibridge.Memory) *trim {
	ctx, stop := context.WithCancel(context.Background())
	t := &trim{stop: stop}
	t.done.Go(func() {
		ticker := time.NewTicker(trimEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
			if memory.Used() < memory.Limit()/16 && unused() > trimmed {
				debug.FreeOSMemory()
			}
		}
	})
	return t
}

// unused returns how many bytes of the process's memory are free, or hold objects that may be garbage.
func unused() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	free, objects, live := samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64()
	return free + objects - min(objects, live)
}

func (t *trim) close() {
	t.stop()
	t.done.Wait()
}
