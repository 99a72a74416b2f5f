package fakellm

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// play writes the answer with the pauses and failures of the turn, and reports whether it sent all of it. It panics
// with [http.ErrAbortHandler] at a cut.
func (p plan) play(w http.ResponseWriter, r *http.Request) bool {
	if p.ask.stream {
		return p.stream(w, r)
	}
	return p.block(w, r)
}

func (p plan) stream(w http.ResponseWriter, r *http.Request) bool {
	t, events := p.turn, p.format.events(p.ask, p.answer)
	if t.noDone {
		events = events[:len(events)-1]
	}
	if t.failure != nil {
		n := t.failure.point.in(len(events) - 1) // It replaces at least the last event.
		events = append(slices.Clip(events[:n]), p.format.failure(*t.failure, n))
	}
	quiet := -1 // No event.
	if t.silence != nil {
		quiet = t.silence.point.in(len(events) - 1)
	}
	if t.cut != nil {
		events = events[:t.cut.in(len(events))]
	}

	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	flusher := http.NewResponseController(w)
	for i, e := range events {
		pause := t.delay
		if i == quiet {
			pause += t.silence.length
		}
		if !wait(r.Context(), pause) {
			return false
		}
		if _, err := w.Write(e.bytes()); err != nil {
			return false
		}
		if err := flusher.Flush(); err != nil {
			return false
		}
	}
	if t.cut != nil {
		panic(http.ErrAbortHandler)
	}
	return t.failure == nil && !t.noDone
}

// block writes the answer in one piece. A cut comes in the middle of it.
func (p plan) block(w http.ResponseWriter, r *http.Request) bool {
	t, body := p.turn, encode(p.format.body(p.ask, p.answer))
	pause := t.delay
	if t.silence != nil {
		pause += t.silence.length
	}
	if !wait(r.Context(), pause) {
		return false
	}
	if t.cut == nil {
		writeJSON(w, http.StatusOK, body)
		return r.Context().Err() == nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush() // Errors do not matter, since the connection is aborted next.
	panic(http.ErrAbortHandler)
}

// bytes returns the event in the form of the wire.
func (e event) bytes() []byte {
	var line []byte
	if e.name != "" {
		line = append(line, "event: "+e.name+"\n"...)
	}
	line = append(line, "data: "...)
	line = append(line, e.data...)
	return append(line, "\n\n"...)
}

// wait pauses, and reports whether the client is still there afterwards.
func wait(ctx context.Context, pause time.Duration) bool {
	if pause == 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
