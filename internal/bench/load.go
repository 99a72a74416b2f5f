package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load says what is sent to a server: a number of requests over a number of connections, each with one request in
// flight.
type load struct {
	requests    int
	connections int
	size        int // Bytes of a request's body, about.
	shape       shape
}

// exchangeLimit is how long one request may take before it counts as failed.
const exchangeLimit = time.Minute

// timing is how long the parts of an exchange took.
type timing struct {
	first time.Duration // From the request to the first byte of the answer's body.
	whole time.Duration // From the request to the end.
	last  time.Duration // From the sending of the last event to its arrival, if the event is stamped.
}

// connection sends requests of one kind, and checks the answers.
type connection struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
	shape   shape
	want    *answer
	buffer  []byte
}

// tailLength is how many bytes of an answer's end are kept to check them.
const tailLength = 1024

// dial opens the n-th connection of a load. Half of the connections use one format, half the other.
func (l load) dial(s *server, n int) (*connection, error) {
	conn, err := net.DialTimeout("tcp", s.address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	f := formatOf(n)
	return &connection{
		conn: conn, reader: bufio.NewReaderSize(conn, 16<<10), request: l.request(s, f),
		shape: l.shape, want: f.answer(l.shape), buffer: make([]byte, 16<<10),
	}, nil
}

func formatOf(n int) format {
	all := formats()
	return all[n%len(all)]
}

// request returns the bytes of a request.
func (l load) request(s *server, f format) []byte {
	body := f.request(l.size, l.shape.deltas > 0)
	head := fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n%s: %s\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: %d\r\n\r\n",
		s.prefix(f), f.path, s.address, f.headers, f.credential, s.token, shapeHeader, l.shape, len(body))
	return append([]byte(head), body...)
}

var (
	errStatus     = errors.New("answered with an error")
	errIncomplete = errors.New("not the answer that the upstream sent")
	errClosed     = errors.New("the connection was not kept open")
)

// begin sends the request and returns the answer once its header has come.
func (c *connection) begin() (*http.Response, error) {
	if err := c.conn.SetDeadline(time.Now().Add(exchangeLimit)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000)) // As much as can be read.
		return nil, fmt.Errorf("%w: %d %s", errStatus, response.StatusCode, text)
	}
	return response, nil
}

// exchange sends the request and reads the answer to its end. It returns an error if the length or the end of the body
// differ from the upstream's.
func (c *connection) exchange() (timing, error) {
	began := time.Now()
	response, err := c.begin()
	if err != nil {
		return timing{}, err
	}
	var took timing
	var tail []byte
	length := 0
	for {
		n, err := response.Body.Read(c.buffer)
		if n > 0 && length == 0 {
			took.first = time.Since(began)
		}
		length += n
		tail = append(tail, c.buffer[max(0, n-tailLength):n]...)
		tail = tail[max(0, len(tail)-tailLength):]
		if err == io.EOF {
			break
		}
		if err != nil {
			return timing{}, fmt.Errorf("after %d bytes of the answer's %d: %w", length, c.want.length, err)
		}
	}
	ended := time.Now()
	took.whole = ended.Sub(began)
	// Of an answer in two rounds the usage differs, and its length with it.
	isWhole := length == c.want.length || c.shape.calls && !bytes.Contains(tail, []byte(calledTool))
	if !isWhole || !bytes.HasSuffix(tail, c.want.ending) {
		return timing{}, fmt.Errorf("%w: %d bytes that end with %q, want %d that end with %q",
			errIncomplete, length, tail[max(0, len(tail)-len(c.want.ending)):], c.want.length, c.want.ending)
	}
	if response.Close {
		return timing{}, errClosed
	}
	if c.shape.stamped {
		sent, err := stampOf(tail)
		if err != nil {
			return timing{}, err
		}
		took.last = ended.Sub(sent)
	}
	return took, nil
}

// clients are a load's open connections to a server.
type clients struct {
	server      *server
	connections []*connection
}

// connect opens a load's connections. The caller closes them.
func (l load) connect(s *server) (_ *clients, err error) {
	c := &clients{server: s}
	for n := range l.connections {
		connection, err := l.dial(s, n)
		if err != nil {
			c.close()
			return nil, err
		}
		c.connections = append(c.connections, connection)
	}
	return c, nil
}

func (c *clients) close() {
	for _, connection := range c.connections {
		_ = connection.conn.Close()
	}
}

// send sends a number of requests over all connections. It returns how long each took, or the first error.
func (c *clients) send(ctx context.Context, requests int) ([]timing, error) {
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		group  sync.WaitGroup
	)
	took := make([]timing, requests)
	for _, connection := range c.connections {
		group.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= requests {
					return
				}
				var err error
				if took[i], err = connection.exchange(); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	c.server.answered.Add(int64(requests))
	if err := failed.Load(); err != nil {
		return nil, fmt.Errorf("a request to %s failed: %w", c.server.name, *err)
	}
	return took, nil
}

func (t timing) untilFirst() time.Duration { return t.first }
func (t timing) untilEnd() time.Duration   { return t.whole }
func (t timing) ofLast() time.Duration     { return t.last }

// quantile returns the q-quantile of a part of the timings, in milliseconds.
func quantile(all []timing, q float64, part func(timing) time.Duration) float64 {
	values := make([]float64, len(all))
	for i, t := range all {
		values[i] = part(t).Seconds() * 1e3
	}
	slices.Sort(values)
	return values[int(q*float64(len(values)))]
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	middle := len(values) / 2
	if len(values)%2 == 0 {
		return (values[middle-1] + values[middle]) / 2
	}
	return values[middle]
}
