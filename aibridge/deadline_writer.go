package aibridge

import (
	"net/http"
	"time"
)

// deadlineWriter gives each write a time limit of its own, so that a client which stops reading frees its request
// while one that reads slowly keeps its stream. It also knows whether the answer has begun.
type deadlineWriter struct {
	http.ResponseWriter

	controller *http.ResponseController
	limit      time.Duration // Zero: no limit.
	started    bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *deadlineWriter) WriteHeader(status int) {
	w.started = w.started || status >= http.StatusOK
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter]. Its deadline serves the flush that follows too.
func (w *deadlineWriter) Write(p []byte) (int, error) {
	w.started = true
	if w.limit > 0 {
		// A writer without deadlines is one without a network behind it.
		_ = w.controller.SetWriteDeadline(time.Now().Add(w.limit))
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] reach the writer below.
func (w *deadlineWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
