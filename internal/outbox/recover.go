package outbox

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"cdr.dev/slog/v3"
)

// recover reads what an earlier process left: the cursor, and all segments from there on. Their entries are counted and
// their damage is set aside.
func (q *Queue) recover() error {
	segments, err := q.findSegments()
	if err != nil {
		return err
	}
	c, at, known, fresh, err := openCursor(q.files, filepath.Join(q.dir, "cursor"))
	if err != nil {
		return err
	}
	q.cursor, q.lastNumber = c, at.segment
	if !known && (!fresh || len(segments) > 0) {
		q.stats.Damaged++
		q.logger.Warn(context.Background(), "outbox cursor lost: all entries on disk are delivered again", slog.F("dir", q.dir))
	}
	for n, s := range segments {
		q.lastNumber = max(q.lastNumber, s.number)
		if err := q.recoverSegment(s, at, n == len(segments)-1); err != nil {
			return err
		}
	}
	q.durable = q.end
	if q.stats.Dead, err = q.countDead(); err != nil {
		return err
	}
	if pending := q.end.entry - q.read.entry; pending > 0 {
		q.logger.Info(context.Background(), "outbox has entries of an earlier process", slog.F("dir", q.dir), slog.F("entries", pending))
	}
	return nil
}

// findSegments returns the segments in the directory, oldest first. It fails if a newer version wrote one of them.
func (q *Queue) findSegments() ([]*segment, error) {
	names, err := q.files.List(q.dir, 0)
	if err != nil {
		return nil, err
	}
	var segments []*segment
	for _, name := range names {
		s := parseSegmentName(name)
		if s == nil {
			continue
		}
		if err := q.checkVersion(s); err != nil {
			return nil, err
		}
		segments = append(segments, s)
	}
	slices.SortFunc(segments, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return segments, nil
}

func (q *Queue) checkVersion(s *segment) error {
	opened, err := q.files.Open(q.segmentPath(s), os.O_RDONLY)
	if err != nil {
		return err
	}
	defer opened.Close()
	header := make([]byte, segmentHeaderBytes)
	n, _ := opened.ReadAt(header, 0) // A header that cannot be read is damage, which is another matter.
	if version, ok := segmentVersion(header[:n]); ok && version > formatVersion {
		return fmt.Errorf("%s has format %d and this program knows %d at most: start the newer program that wrote it",
			s.fileName(), version, formatVersion)
	}
	return nil
}

// recoverSegment makes a segment part of the queue, or discards it if nothing in it is to be delivered.
func (q *Queue) recoverSegment(s *segment, at mark, last bool) error {
	s.base, s.first = q.end.position, q.end.entry
	if s.number >= at.segment {
		begin := int64(segmentHeaderBytes)
		if s.number == at.segment {
			begin = max(begin, at.offset)
		}
		if err := q.countEntries(s, begin, last); err != nil {
			return err
		}
		if s.entries > 0 && begin > segmentHeaderBytes {
			q.read.position = s.base + begin - segmentHeaderBytes
		}
	}
	if s.entries == 0 {
		return q.discard(s)
	}
	q.segments = append(q.segments, s)
	q.end = place{s.first + s.entries, s.end()}
	return nil
}

// countEntries reads a segment from an offset in its file on. Damage is set aside; what is torn off at the end of the
// last segment is only cut off.
func (q *Queue) countEntries(s *segment, begin int64, last bool) error {
	opened, err := q.files.Open(q.segmentPath(s), os.O_RDWR)
	if err != nil {
		return err
	}
	defer opened.Close()
	limit, err := opened.Size()
	if err != nil {
		return err
	}
	scan := &scanner{file: opened, salt: s.salt}
	if last && scan.zeros(0, limit) && !scan.unreadable {
		limit = 0 // The machine stopped before anything of this was on its disk.
	}
	header := scan.window(0, segmentHeaderBytes, limit)
	cut := last && len(header) < segmentHeaderBytes
	if _, ok := segmentVersion(header); !ok && !cut && len(header) > 0 {
		q.setAside(s, scan, 0, int64(len(header)))
	}
	scan.offset = begin
	for scan.offset < limit {
		expected := scan.offset
		f, found := scan.next(limit)
		switch {
		case !found:
			if !last || !scan.torn(expected, limit) || scan.unreadable {
				q.setAside(s, scan, expected, limit)
			}
			if !s.keep {
				_ = opened.Truncate(expected) // Else the next Open finds it again, which does no harm.
			}
			return nil
		case f.offset > expected:
			q.setAside(s, scan, expected, f.offset)
		}
		if s.entries == 0 && s.first == q.read.entry {
			q.oldest = f.at
		}
		s.entries++
		s.size = f.end() - segmentHeaderBytes
	}
	return nil
}
