package aibridge

import (
	"errors"
	"net/http"
	"os"
	"time"
)

// deadlineStep is how much longer than its limit a write may take, so that the deadline need not be set for each write.
const deadlineStep = time.Second

// clientWriter gives each write a time limit: the request of a client that stops reading ends, and a client that reads
// slowly keeps its stream. It also knows whether the answer has begun. It is for the handler's goroutine alone.
type clientWriter struct {
	http.ResponseWriter

	controller *http.ResponseController
	limit      time.Duration // Zero: no limit.
	renewed    time.Time     // When the deadline was set last.
	informs    bool          // The client's protocol has informational answers (1xx): HTTP/1.1 and later, RFC 9110, section 15.2.
	started    bool
	status     int   // Of the answer; zero: none has begun, or it began without one, which means 200.
	stalled    bool  // A write met its deadline.
	failed     error // Why the client takes no more.
}

func newClientWriter(w http.ResponseWriter, r *http.Request) *clientWriter {
	return &clientWriter{ResponseWriter: w, controller: http.NewResponseController(w), informs: r.ProtoAtLeast(1, 1)}
}

// WriteHeader implements [http.ResponseWriter].
func (w *clientWriter) WriteHeader(status int) {
	if status < http.StatusOK && !w.informs {
		return
	}
	if status >= http.StatusOK && !w.started {
		w.started, w.status = true, status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter]. Its deadline serves the flush that follows too.
func (w *clientWriter) Write(p []byte) (int, error) {
	w.started = true
	w.renew()
	n, err := w.ResponseWriter.Write(p)
	w.note(err)
	return n, err
}

// FlushError is what [http.ResponseController.Flush] calls: most writes reach the network here, with the deadline that
// Write has set.
func (w *clientWriter) FlushError() error {
	if w.renewed.IsZero() {
		w.renew()
	}
	err := w.controller.Flush()
	if errors.Is(err, http.ErrNotSupported) {
		return nil // A host's writer may have no way to do so: then the bytes go when it sends them.
	}
	w.note(err)
	return err
}

// renew moves the deadline, at most once a step.
func (w *clientWriter) renew() {
	if w.limit <= 0 {
		return
	}
	if now := time.Now(); now.Sub(w.renewed) >= deadlineStep {
		w.renewed = now
		// A writer that has no deadlines has no network behind it, and needs none.
		_ = w.controller.SetWriteDeadline(now.Add(w.limit + deadlineStep))
	}
}

func (w *clientWriter) note(err error) {
	if w.failed == nil {
		w.failed = err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.stalled = true
	}
}

// Unwrap lets [http.ResponseController] reach the writer below.
func (w *clientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
