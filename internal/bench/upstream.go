package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// scripted is the upstream. It works on bare connections and makes each answer only once, so that it costs little
// beside the servers that are measured.
type scripted struct {
	mu      sync.Mutex
	answers map[answerKey]*answer
}

type answerKey struct {
	path   string
	shape  shape
	isCall bool // It is the call that comes before the answer.
}

// serveUpstream serves on a free port, which it prints, until ctx ends.
func serveUpstream(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	fmt.Printf("http://%s\n", listener.Addr())
	u := &scripted{answers: map[answerKey]*answer{}}
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil // The process ends now, which closes the connections.
		}
		if err != nil {
			return err
		}
		go u.serve(conn)
	}
}

// serve answers the requests of a connection. To a bad request it answers with the error, which the load then reports.
func (u *scripted) serve(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReaderSize(conn, 16<<10)
	for {
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		body, err := readOf(request)
		if err != nil {
			return
		}
		a, s, err := u.answerTo(request, body)
		if err != nil {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(err.Error()), err)
			return
		}
		if err := a.send(conn, s); err != nil {
			return // The client left, as those of idle streams do.
		}
	}
}

var errPath = errors.New("no such path")

// readOf reads a request's body, and returns it if the answer depends on it.
func readOf(request *http.Request) ([]byte, error) {
	if s, err := parseShape(request.Header.Get(shapeHeader)); err == nil && s.calls {
		return io.ReadAll(request.Body)
	}
	_, err := io.Copy(io.Discard, request.Body)
	return nil, err
}

func (u *scripted) answerTo(request *http.Request, body []byte) (*answer, shape, error) {
	s, err := parseShape(request.Header.Get(shapeHeader))
	if err != nil {
		return nil, s, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	key := answerKey{request.URL.Path, s, s.wantsCall(body)}
	if a, ok := u.answers[key]; ok {
		return a, s, nil
	}
	for _, f := range formats() {
		if strings.HasSuffix(key.path, f.path) {
			if u.answers[key] = f.answer(s); key.isCall {
				u.answers[key] = f.calling()
			}
			return u.answers[key], s, nil
		}
	}
	return nil, s, fmt.Errorf("%q: %w", key.path, errPath)
}

// send writes an answer with the pauses of its shape.
func (a *answer) send(conn net.Conn, s shape) error {
	for i, piece := range a.pieces {
		isLast := i == len(a.pieces)-1
		if i > 0 && s.pace > 0 && (!isLast || s.stamped) {
			time.Sleep(s.pace)
		}
		if isLast && s.stamped {
			piece = stamp(piece, time.Now())
		}
		if _, err := conn.Write(piece); err != nil {
			return err
		}
	}
	return nil
}
