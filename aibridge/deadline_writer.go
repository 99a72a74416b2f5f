package aibridge

import (
	"errors"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// deadlineWriter gives each write a time limit of its own, so that a client which stops reading frees its request
// while one that reads slowly keeps its stream. It also knows whether the answer has begun.
type deadlineWriter struct {
	http.ResponseWriter

	controller *http.ResponseController
	limit      time.Duration // Zero: no limit.
	started    bool
	stalled    atomic.Bool // A write met its deadline. ReverseProxy may flush from a timer.
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
	n, err := w.ResponseWriter.Write(p)
	w.note(err)
	return n, err
}

// FlushError is what [http.ResponseController.Flush] calls: most writes reach the network here.
func (w *deadlineWriter) FlushError() error {
	err := w.controller.Flush()
	w.note(err)
	return err
}

func (w *deadlineWriter) note(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.stalled.Store(true)
	}
}

// Unwrap lets [http.ResponseController] reach the writer below.
func (w *deadlineWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
