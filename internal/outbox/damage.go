package outbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"cdr.dev/slog/v3"
)

func (q *Queue) damagedDir() string { return filepath.Join(q.dir, "damaged") }

// setAside counts and logs a stretch of a segment that holds no frames, and keeps its bytes in damaged/. It ignores a
// stretch that it has set aside before.
func (q *Queue) setAside(s *segment, from *scanner, begin, end int64) {
	q.mu.Lock()
	_, known := s.damaged[begin]
	if !known {
		if s.damaged == nil {
			s.damaged = make(map[int64]struct{})
		}
		s.damaged[begin] = struct{}{}
		q.stats.Damaged++
	}
	q.mu.Unlock()
	if known {
		return
	}
	err := q.copyStretch(s, from, begin, end)
	q.mu.Lock()
	s.keep = s.keep || from.unreadable || err != nil
	q.mu.Unlock()
	q.logger.Warn(context.Background(), "outbox segment damaged: the entries there are lost, the rest is delivered",
		slog.F("segment", q.segmentPath(s)), slog.F("offset", begin), slog.F("bytes", end-begin), slog.Error(err))
}

// copyStretch copies a stretch of a segment to a file of its own, unless it is nothing but zeros.
func (q *Queue) copyStretch(s *segment, from *scanner, begin, end int64) error {
	stretch := scanner{file: from.file}
	if stretch.zeros(begin, end) {
		return nil
	}
	name := fmt.Sprintf("%s-%d.bin", strings.TrimSuffix(s.fileName(), ".log"), begin)
	to, err := q.files.Open(filepath.Join(q.damagedDir(), name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer to.Close()
	for offset := begin; offset < end; {
		window := stretch.window(offset, scanBytes, end)
		if len(window) == 0 {
			return nil // The file ends before.
		}
		if _, err := to.WriteAt(window, offset-begin); err != nil {
			return err
		}
		offset += int64(len(window))
	}
	return nil
}

// discard takes the file of a segment out of the log: it removes it, or moves it to damaged/ if it has bytes that could
// not be read or copied.
func (q *Queue) discard(s *segment) error {
	path := q.segmentPath(s)
	if s.keep {
		return q.files.Rename(path, filepath.Join(q.damagedDir(), s.fileName()))
	}
	return q.files.Remove(path)
}

// reclaim discards each segment from which everything has been delivered, once it is no longer written to or synced and
// a later segment is durable: from the head of that one on, the log has all that the owner has to know.
func (q *Queue) reclaim() {
	q.mu.Lock()
	lasting := len(q.segments) - 1
	for lasting >= 0 && !q.segments[lasting].lasting {
		lasting--
	}
	var gone []*segment
	kept := q.segments[:0]
	for n, s := range q.segments {
		if n >= lasting || s.file != nil || s.end() > q.read.position || q.hasGrave(s) {
			kept = append(kept, s)
		} else {
			gone = append(gone, s)
		}
	}
	clear(q.segments[len(kept):])
	q.segments = kept
	q.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	if err := q.takeLastingStock(); err != nil { // They are removed all the same: that may be what makes room.
		q.complain("outbox inventory cannot be written: segments may count as missing that are not", err)
	}
	for _, s := range gone {
		if err := q.discard(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
			q.complain("outbox segment delivered but not removed", err)
			continue
		}
		q.mu.Lock()
		q.freed = true
		q.mu.Unlock()
	}
}
