package observe

import (
	"errors"
	"fmt"
	"os"

	"github.com/coder/aibridged/internal/kept"
)

// largestKeepBuffer is the largest buffer that is kept for the next pieces.
const largestKeepBuffer = 1 << 20

// keepWriter writes one piece of an exchange after the other.
type keepWriter struct {
	encoder *kept.Encoder
	losses  *losses
	buffer  []byte // Reused.
}

// part is what the writer takes from an exchange at once.
type part struct {
	sections []kept.Section
	held     int
	last     bool // No more parts will come.
	lost     bool
}

func (e *keeping) take() part {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := part{e.sections, e.held - len(e.response), e.over, e.lost}
	e.sections, e.held, e.queued = nil, len(e.response), false
	return taken
}

// fail gives the exchange up for the writer. It reports whether the exchange was not given up before, and whether it is
// not in the queue again.
func (e *keeping) fail() (news, last bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.giveUp(), !e.queued
}

// write writes what an exchange has handed in.
func (w *keepWriter) write(e *keeping) {
	defer w.losses.tell()
	taken := e.take()
	if !taken.lost {
		err := w.store(e, taken)
		e.keeper.budget.release(taken.held)
		if err != nil {
			var news bool
			if news, taken.last = e.fail(); news {
				w.losses.fail(err)
			}
			taken.lost = true
		}
	}
	if !taken.last {
		return
	}
	if taken.lost && e.written {
		_ = os.Remove(e.until) // If that fails, a sweep removes it when it is old.
	}
	e.keeper.keeping.Add(-1)
}

// store appends sections to the file of an exchange, and renames the file if these are the last ones.
func (w *keepWriter) store(e *keeping, taken part) error {
	flags := os.O_WRONLY | os.O_APPEND
	if !e.written {
		// The file may hold an earlier exchange of the same round: the last one counts.
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	w.buffer = w.encoder.Append(w.buffer[:0], taken.sections...)
	file, err := os.OpenFile(e.until, flags, 0o600)
	if err != nil {
		return fmt.Errorf("open kept exchange: %w", err)
	}
	e.written = true
	_, err = file.Write(w.buffer)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write kept exchange: %w", err)
	}
	if cap(w.buffer) > largestKeepBuffer {
		w.buffer = nil
	}
	if !taken.last {
		return nil
	}
	if err := os.Rename(e.until, e.finished); err != nil {
		return fmt.Errorf("rename kept exchange: %w", err)
	}
	return nil
}
