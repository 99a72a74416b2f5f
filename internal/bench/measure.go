package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// measurement is some rows of the report: figures of one process in one round.
type measurement struct {
	names []string
	unit  string
	// added says that what the direct way to the upstream takes is to be subtracted.
	added   bool
	measure func(ctx context.Context, p *process) ([]float64, error)
}

const (
	blockingWorkers = 8
	idleStreams     = 500
)

func measurements() []measurement {
	return []measurement{
		{names: []string{"CPU per blocking request, 1 KB"}, unit: "µs", measure: cpuPerRequest(1<<10, 3000)},
		{names: []string{"CPU per blocking request, 200 KB"}, unit: "µs", measure: cpuPerRequest(200<<10, 600)},
		{names: []string{"CPU per event of a paced stream"}, unit: "µs", measure: cpuPerEvent},
		{
			names: []string{"added at a stream's first byte, p50", "the same, p99", "added at a stream's end, p50", "the same, p99"},
			unit:  "µs", added: true, measure: delays,
		},
		{names: []string{"memory per idle stream"}, unit: "KiB", measure: memoryPerStream},
	}
}

var errStatus = errors.New("answered with an error")

// source is a file as agents quote them: lines with indents and some quotes, escaped.
const source = `// Copyright of nobody. All rights are yours.\npackage store\n\nimport (\n\t\"context\"\n\t\"fmt\"\n)\n\n` +
	`// Load returns the entry with that key, or an error that says why there is none.\n` +
	`func (s *Store) Load(ctx context.Context, key string) (*Entry, error) {\n\tentry, ok := s.entries[key]\n` +
	`\tif !ok {\n\t\treturn nil, fmt.Errorf(\"load %q: no such entry in a store of %d\", key, len(s.entries))\n\t}\n` +
	`\treturn entry.clone(), nil // The caller may change it without a lock.\n}\n`

// requestBody returns a Messages request of about that size, as agents send them: a few long texts.
func requestBody(size int, head string) string {
	const part = `{"role":"user","content":[{"type":"text","text":"%s"}]},`
	var body strings.Builder
	fmt.Fprintf(&body, `{%s,"max_tokens":1000,"messages":[`, head)
	words := strings.Repeat(source, 6)
	for body.Len()+len(words)+200 < size {
		fmt.Fprintf(&body, part, words)
	}
	fmt.Fprintf(&body, `{"role":"user","content":"%s"}]}`, strings.Repeat("x", max(0, size-body.Len()-40)))
	return body.String()
}

// client is the load's own: nothing but HTTP.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConns: 2000, MaxIdleConnsPerHost: 1000, DisableCompression: true}}
}

func post(ctx context.Context, client *http.Client, p *process, body string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.messagesURL(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Api-Key", p.token)
	request.Header.Set("User-Agent", "claude-cli/2.1.330 (external, sdk-cli)")
	request.Header.Set("Anthropic-Version", "2023-06-01")
	request.Header.Set("X-Claude-Code-Session-Id", "11111111-2222-3333-4444-555555555555")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return nil, errors.Join(fmt.Errorf("%s %w: %d %s", p.name, errStatus, response.StatusCode, text), response.Body.Close())
	}
	return response, nil
}

// exchange sends a request and reads its answer.
func exchange(ctx context.Context, client *http.Client, p *process, body string) error {
	response, err := post(ctx, client, p, body)
	if err != nil {
		return err
	}
	if _, err = io.Copy(io.Discard, response.Body); err != nil {
		err = fmt.Errorf("%s: %w", p.name, err)
	}
	return errors.Join(err, response.Body.Close())
}

// inParallel runs work n times with so many workers, and returns the first error.
func inParallel(workers, n int, work func() error) error {
	var (
		left  atomic.Int64
		group sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	left.Store(int64(n))
	for range workers {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				if err := work(); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					return
				}
			}
		})
	}
	group.Wait()
	return first
}

// cpuOf returns the CPU time that the process spends while work runs.
func cpuOf(ctx context.Context, p *process, work func() error) (time.Duration, error) {
	before, err := p.usage(ctx)
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	after, err := p.usage(ctx)
	return after.CPU - before.CPU, err
}

func cpuPerRequest(size, requests int) func(context.Context, *process) ([]float64, error) {
	body := requestBody(size, `"model":"blocking"`)
	return func(ctx context.Context, p *process) ([]float64, error) {
		client := newClient()
		defer client.CloseIdleConnections()
		if err := inParallel(blockingWorkers, requests/10, func() error { return exchange(ctx, client, p, body) }); err != nil {
			return nil, err
		}
		cpu, err := cpuOf(ctx, p, func() error {
			return inParallel(blockingWorkers, requests, func() error { return exchange(ctx, client, p, body) })
		})
		return []float64{float64(cpu) / float64(requests) / 1e3}, err
	}
}

// cpuPerEvent has no warm-up of its own: its connections are new, and its streams so long that this does not show.
func cpuPerEvent(ctx context.Context, p *process) ([]float64, error) {
	const streams = 40
	body := requestBody(1<<10, `"model":"stream","stream":true`)
	client := newClient()
	defer client.CloseIdleConnections()
	cpu, err := cpuOf(ctx, p, func() error {
		return inParallel(streams, streams, func() error { return exchange(ctx, client, p, body) })
	})
	return []float64{float64(cpu) / float64(streams*streamEvents) / 1e3}, err
}

// delays are the median and the 99th percentile, of the time from a request to the first byte of its stream, and of the
// time from the sending of its last event to its arrival; one request at a time.
func delays(ctx context.Context, p *process) ([]float64, error) {
	const requests = 500
	body := requestBody(20<<10, `"model":"brief","stream":true`)
	client := newClient()
	defer client.CloseIdleConnections()
	var first, last []float64
	for range requests {
		atFirst, atLast, err := delay(ctx, client, p, body)
		if err != nil {
			return nil, err
		}
		first, last = append(first, atFirst), append(last, atLast)
	}
	return []float64{median(first), quantile(first, 0.99), median(last), quantile(last, 0.99)}, nil
}

func delay(ctx context.Context, client *http.Client, p *process, body string) (first, last float64, err error) {
	began := time.Now()
	response, err := post(ctx, client, p, body)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	begin := make([]byte, 1)
	if _, err := response.Body.Read(begin); err != nil {
		return 0, 0, err
	}
	first = float64(time.Since(began)) / 1e3
	rest, err := io.ReadAll(response.Body)
	ended := time.Now().UnixNano()
	if err != nil {
		return 0, 0, err
	}
	_, stamp, _ := bytes.Cut(rest, []byte("\n:"))
	stamp, _, _ = bytes.Cut(stamp, []byte("\n"))
	sent, err := strconv.ParseInt(string(stamp), 10, 64)
	return first, float64(ended-sent) / 1e3, err
}

// memoryPerStream is what a stream holds that has begun and is silent.
func memoryPerStream(ctx context.Context, p *process) ([]float64, error) {
	body := requestBody(20<<10, `"model":"idle","stream":true`)
	client := newClient()
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	before, err := p.usage(ctx)
	if err != nil {
		return nil, err
	}
	responses := make(chan *http.Response, idleStreams)
	if err := inParallel(20, idleStreams, func() error {
		response, err := post(ctx, client, p, body)
		if err != nil {
			return err
		}
		responses <- response
		_, err = response.Body.Read(make([]byte, 1))
		return err
	}); err != nil {
		return nil, err
	}
	after, err := p.usage(ctx)
	cancel()
	close(responses)
	for response := range responses {
		_ = response.Body.Close() // Its request has just been cancelled.
	}
	return []float64{float64(after.Memory-before.Memory) / idleStreams / 1024}, err
}

func median(values []float64) float64 { return quantile(values, 0.5) }

func quantile(values []float64, q float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return values[int(q*float64(len(values)))]
}
