package main

import (
	"errors"
	"net"
	"net/http"
	"time"
)

// starting answers on listeners while the gateway is not made yet: its database may be brought up to date, which can take
// long, and who watches it should see a process that is alive and not ready.
type starting struct {
	server    *http.Server
	listeners []*lentListener
	ended     chan error
}

// answerStarting starts to answer. Nil listeners are none. The caller ends it before it uses the listeners.
func answerStarting(listeners ...net.Listener) *starting {
	s := &starting{server: &http.Server{Handler: http.HandlerFunc(answerNotReady), ReadHeaderTimeout: 5 * time.Second}}
	s.ended = make(chan error, len(listeners))
	for _, listener := range listeners {
		if tcp, ok := listener.(*net.TCPListener); ok {
			lent := &lentListener{tcp}
			s.listeners = append(s.listeners, lent)
			go func() { s.ended <- s.server.Serve(lent) }()
		}
	}
	return s
}

func answerNotReady(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close")
	if r.URL.Path == "/healthz" {
		writeHealth(w, http.StatusOK, "ok")
		return
	}
	w.Header().Set("Retry-After", "1")
	writeHealth(w, http.StatusServiceUnavailable, "not ready: it is starting")
}

// end stops answering and leaves the listeners to others.
func (s *starting) end() error {
	err := s.server.Close()
	for range s.listeners {
		if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
	}
	for _, lent := range s.listeners {
		err = errors.Join(err, lent.SetDeadline(time.Time{}))
	}
	return err
}

// lentListener is a listener whose Close only ends its Accept.
type lentListener struct{ *net.TCPListener }

func (l *lentListener) Close() error { return l.SetDeadline(time.Unix(1, 0)) }
