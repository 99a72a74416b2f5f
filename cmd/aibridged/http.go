package main

import (
	"context"
	"net/http"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/ingress"
)

// newHTTPServer returns a server with limits against clients that hold connections without using them. It does not
// limit how long an answer takes: the gateway limits each write.
func newHTTPServer(handler http.Handler, counted *connections, logger slog.Logger) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler:           judged(counted.handler(handler)),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    256 << 10,
		Protocols:         protocols,
		ErrorLog:          slog.Stdlib(context.Background(), logger, slog.LevelDebug),
	}
	counted.watch(server)
	return server
}

// unreadBody is how long net/http may wait for the body of a request that no handler reads.
const unreadBody = 30 * time.Second

// judged returns a handler that refuses requests without a valid Host, on every path, and bounds how long a body may
// take that nobody reads. The gateway sets deadlines of its own when it reads one.
func judged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ingress.EndConnection(w, r)
		if r.ProtoMajor == 1 && r.ContentLength != 0 { // HTTP/2 waits for no body.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unreadBody)) // All connections have deadlines.
		}
		if err := ingress.JudgeHost(r); err != nil {
			apierror.ForPath(r.URL.Path).Write(w, r, &apierror.Error{Status: http.StatusBadRequest, Text: err.Error()})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseForNow answers a request that may be made later.
func refuseForNow(w http.ResponseWriter, r *http.Request, text string) {
	apierror.ForPath(r.URL.Path).Write(w, r, &apierror.Error{Status: http.StatusServiceUnavailable, Text: text, RetryAfter: time.Second})
}

// refuse answers a request that may not be made, and says why.
func refuse(w http.ResponseWriter, r *http.Request, text string) {
	apierror.ForPath(r.URL.Path).Write(w, r, &apierror.Error{Status: http.StatusForbidden, Text: text})
}
