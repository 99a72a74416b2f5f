package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// workload is one measurement, with one or several rows in the table.
type workload struct {
	key  string
	rows []row
	// isFresh says that each measurement starts a new server, which has served nothing yet.
	isFresh bool
	// base returns what is subtracted from the figures. Nil: nothing is.
	base func(ctx context.Context, m *comparison) ([]float64, error)
	// tools says whether it is for the gateway with tools.
	tools toolsIn
	// rounds bounds the number of rounds; zero means no limit.
	rounds  int
	measure func(ctx context.Context, s *server) ([]float64, error)
}

// toolsIn says what a workload has to do with tools of the gateway.
type toolsIn int

const (
	noTools   toolsIn = iota
	alsoTools         // It is sent to the gateway with tools, too, and calls none.
	onlyTools         // It is sent to that one alone.
)

// isFor reports whether the workload is sent to a target.
func (w workload) isFor(target int) bool {
	if target == gatewayWithTools {
		return w.tools != noTools
	}
	return w.tools != onlyTools
}

// row says how one figure of a workload appears in the table.
type row struct {
	name, unit string
	// isDifference says that the gateway is compared with the bare proxy by difference instead of ratio.
	isDifference bool
}

// sizes holds the number of requests of each workload, and the lengths of streams and pauses.
type sizes struct {
	connections int
	blocking    int // Requests of 1 KB.
	large       int // Requests of 200 KB.
	burst       int // Streams as fast as they go.
	paced       int // Streams with pauses.
	alone       int // Requests one after the other.
	delayed     int // Streams one after the other.
	idle        int // Streams held open.
	deltas      int // Events of text in a stream.
	pace        time.Duration
	ramp, hold  time.Duration // Of idle streams: the time until all are open, and how long they are then held.
}

func fullSizes() sizes {
	return sizes{
		connections: 64, blocking: 8000, large: 2000, burst: 2000, paced: 192, alone: 1000, delayed: 400, idle: 1000,
		deltas: 100, pace: 10 * time.Millisecond, ramp: 2 * time.Second, hold: 4 * time.Second,
	}
}

// shortSizes are just large enough for figures above zero: the kernel counts CPU time in steps of 10 ms.
func shortSizes() sizes {
	return sizes{
		connections: 16, blocking: 1000, large: 500, burst: 400, paced: 64, alone: 50, delayed: 20, idle: 50,
		deltas: 50, pace: time.Millisecond, ramp: 100 * time.Millisecond, hold: 300 * time.Millisecond,
	}
}

func workloads(n sizes) []workload {
	cpu := func(key, name string, l load) workload {
		return workload{key: key, rows: []row{{name: name + ": CPU", unit: "µs"}}, measure: l.cpuPerRequest}
	}
	withTools := func(w workload) workload {
		w.tools = alsoTools
		return w
	}
	stream, paced := shape{deltas: n.deltas}, shape{deltas: n.deltas, pace: n.pace}
	delayed := load{requests: n.delayed, connections: 1, size: small, shape: shape{deltas: 3, pace: time.Millisecond, stamped: true}}
	alone := load{requests: n.alone, connections: 1, size: small}
	calling := load{requests: n.alone, connections: 1, size: small, shape: shape{deltas: 3}}
	return []workload{
		cpu("blocking", "1 KB blocking", load{requests: n.blocking, connections: n.connections, size: small}),
		withTools(cpu("large", "200 KB blocking", load{requests: n.large, connections: n.connections, size: large})),
		cpu("burst", fmt.Sprintf("%d-event stream, as fast as it goes", n.deltas),
			load{requests: n.burst, connections: n.connections, size: small, shape: stream}),
		cpu("paced", fmt.Sprintf("%d-event stream, an event each %d ms", n.deltas, n.pace.Milliseconds()),
			load{requests: n.paced, connections: n.connections, size: small, shape: paced}),
		withTools(cpu("coding", "coding turn: 200 KB up, paced stream down",
			load{requests: n.paced, connections: n.connections, size: large, shape: paced})),
		{
			key: "idle", rows: []row{{name: fmt.Sprintf("idle stream, %d of them in a fresh process: memory", n.idle), unit: "KiB"}},
			isFresh: true, rounds: idleRounds, measure: n.memoryPerStream,
		},
		{
			key: "alone", rows: []row{{name: "1 KB blocking, one at a time: p50", unit: "ms", isDifference: true}},
			measure: alone.latency, tools: alsoTools,
		},
		{
			key: "added", measure: delayed.delays, tools: alsoTools,
			base: func(ctx context.Context, m *comparison) ([]float64, error) { return delayed.delays(ctx, m.direct) },
			rows: []row{
				{"added at the first byte, one at a time: p50", "ms", true}, {"added at the first byte: p99", "ms", true},
				{"added at the end of a stream: p50", "ms", true}, {"added at the end of a stream: p99", "ms", true},
			},
		},
		{
			key: "call", measure: calling.callCost, base: calling.callBase, tools: onlyTools,
			rows: []row{{"a call of a tool, beside its own time and that of the second request: p50", "ms", true}},
		},
	}
}

func workloadKeys() (keys []string) {
	for _, w := range workloads(sizes{}) {
		keys = append(keys, w.key)
	}
	return keys
}

var errWorkload = errors.New("no such workload")

// chosen returns the workloads whose keys are in only, or all if only is empty.
func chosen(all []workload, only string) ([]workload, error) {
	if only == "" {
		return all, nil
	}
	keys := strings.Split(only, ",")
	for _, key := range keys {
		if !slices.Contains(workloadKeys(), key) {
			return nil, fmt.Errorf("%q: %w: there are %s", key, errWorkload, strings.Join(workloadKeys(), ", "))
		}
	}
	return slices.DeleteFunc(all, func(w workload) bool { return !slices.Contains(keys, w.key) }), nil
}

// warm opens a load's connections and sends some requests over them, without pauses in their streams. The caller closes
// them.
func (l load) warm(ctx context.Context, s *server) (*clients, error) {
	quick := l
	quick.shape.pace = 0
	c, err := quick.connect(s)
	if err != nil {
		return nil, err
	}
	if _, err := c.send(ctx, max(l.connections, min(l.requests/10, 200))); err != nil {
		c.close()
		return nil, err
	}
	for n, connection := range c.connections {
		connection.request = l.request(s, formatOf(n))
	}
	return c, nil
}

// cpuPerRequest returns the CPU time of the server for one request, in microseconds.
func (l load) cpuPerRequest(ctx context.Context, s *server) ([]float64, error) {
	c, err := l.warm(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	before, err := s.cpu(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.send(ctx, l.requests); err != nil {
		return nil, err
	}
	after, err := s.cpu(ctx)
	return []float64{float64((after - before).Microseconds()) / float64(l.requests)}, err
}

// latency returns the median time of a request, in milliseconds.
func (l load) latency(ctx context.Context, s *server) ([]float64, error) {
	c, err := l.warm(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	all, err := c.send(ctx, l.requests)
	if err != nil {
		return nil, err
	}
	return []float64{quantile(all, 0.5, timing.untilEnd)}, nil
}

// delays are, in milliseconds, the median and the 99th percentile of the time from a request to its first byte, and of
// the time from the sending of the last event to its arrival.
func (l load) delays(ctx context.Context, s *server) ([]float64, error) {
	c, err := l.warm(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.close()
	all, err := c.send(ctx, l.requests)
	if err != nil {
		return nil, err
	}
	return []float64{
		quantile(all, 0.5, timing.untilFirst), quantile(all, 0.99, timing.untilFirst),
		quantile(all, 0.5, timing.ofLast), quantile(all, 0.99, timing.ofLast),
	}, nil
}

// idleRounds is the largest number of rounds for idle streams, since they take long and differ little.
const idleRounds = 3

// idlePace is the time between two events of an idle stream.
const idlePace = time.Second

var errIdle = errors.New("an idle stream ended")

// memoryPerStream returns by how much the memory of a server grows for each idle stream that it holds, in KiB.
func (n sizes) memoryPerStream(ctx context.Context, s *server) (_ []float64, err error) {
	before, err := memoryOf(s.pid())
	if err != nil {
		return nil, err
	}
	l := load{connections: n.idle, size: small, shape: shape{deltas: 600, pace: idlePace}}
	c := &clients{server: s}
	var (
		group     sync.WaitGroup
		isClosing atomic.Bool
		failed    atomic.Pointer[error]
	)
	defer func() {
		isClosing.Store(true)
		c.close()
		group.Wait()
	}()
	var begun sync.WaitGroup
	for began := time.Now(); len(c.connections) < n.idle; {
		connection, err := l.dial(s, len(c.connections))
		if err != nil {
			return nil, err
		}
		c.connections = append(c.connections, connection)
		begun.Add(1)
		group.Go(func() {
			err := connection.hold(begun.Done)
			if !isClosing.Load() {
				failed.CompareAndSwap(nil, &err)
			}
		})
		pause(ctx, time.Until(began.Add(n.ramp*time.Duration(len(c.connections))/time.Duration(n.idle))))
	}
	begun.Wait()
	pause(ctx, n.hold)
	after, err := memoryOf(s.pid())
	if err != nil {
		return nil, err
	}
	if err := failed.Load(); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", s.name, errIdle, *err)
	}
	return []float64{float64(after-before) / float64(n.idle) / 1024}, ctx.Err()
}

// hold sends the request and reads until the connection is closed. It calls begun once the answer has begun or failed.
func (c *connection) hold(begun func()) error {
	begun = sync.OnceFunc(begun)
	defer begun()
	response, err := c.begin()
	if err != nil {
		return err
	}
	for {
		n, err := response.Body.Read(c.buffer[:512])
		if n > 0 {
			begun()
		}
		if err == nil {
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF // The stream should last for minutes.
		}
		return err
	}
}

// pause returns after a time, or when ctx ends.
func pause(ctx context.Context, length time.Duration) {
	select {
	case <-time.After(length):
	case <-ctx.Done():
	}
}
