package aibridge

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
)

// sending is a request that a transport is sending. It passes informational answers (1xx) on to the client, without
// their headers, since nothing checks these, and holds the body for each time that the transport sends it, until it has
// been sent.
//
// A transport calls [httptrace.ClientTrace.WroteRequest] when it has sent the body. If it never does, the body is never
// released: its buffer is left to the garbage collector, so that no other request uses it while the transport may read
// it.
type sending struct {
	client http.ResponseWriter
	body   outgoing // Held for as long as the transport has not answered.

	mu    sync.Mutex // Guards what follows: a transport calls from goroutines of its own.
	begun bool       // The answer has begun: the client is the handler's alone.
	holds int        // How often the body is held.
}

// follow returns a context for a request with that body. The caller holds the body during the call, and calls answered
// once the transport has returned.
func (s *sending) follow(ctx context.Context) context.Context {
	s.body.of.hold()
	s.holds = 1
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: s.informational, WroteRequest: s.wrote,
	})
}

func (s *sending) informational(status int, _ textproto.MIMEHeader) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		s.client.WriteHeader(status)
	}
	return nil
}

func (s *sending) wrote(httptrace.WroteRequestInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds > 0 {
		s.holds--
		s.body.of.release()
	}
}

// again returns the body for a transport that sends the request once more: see [http.Request.GetBody]. A transport calls
// it before it returns, so that the caller still holds the body.
func (s *sending) again() (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
	s.body.of.hold()
	return s.body.reader(), nil
}

func (s *sending) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
}
