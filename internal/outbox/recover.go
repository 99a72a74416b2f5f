package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"cdr.dev/slog/v3"
)

// recover reads what an earlier process left: the cursor and all segments. The owner is told what is in them, the
// entries from the cursor on are counted, and damage is set aside.
func (q *Queue) recover() error {
	segments, err := q.findSegments()
	if err != nil {
		return err
	}
	c, state, err := openCursor(q.files, filepath.Join(q.dir, "cursor"))
	if err != nil {
		return err
	}
	at := state.at
	q.cursor, q.lastNumber = c, at.segment
	if !state.known && (!state.fresh || len(segments) > 0) {
		q.stats.Damaged++
		q.logger.Warn(context.Background(), "outbox cursor lost: all entries on disk are delivered again", slog.F("dir", q.dir))
	}
	i, list, spoilt, err := openInventory(q.files, filepath.Join(q.dir, "segments"))
	if err != nil {
		return err
	}
	q.inventory = i
	if spoilt || i.fresh && state.inventoried {
		q.stats.Damaged++
		q.logger.Warn(context.Background(), "outbox inventory lost: if the last segments are missing, it is not known", slog.F("dir", q.dir))
	}
	if i.fresh {
		q.reportGaps(segments, state)
	}
	q.compare(segments, list, at)
	for _, l := range list {
		q.lastNumber = max(q.lastNumber, l.number)
	}
	if len(segments)+len(list) == 0 {
		if err := q.checkEmpty(state.known && at.segment > 0); err != nil {
			return err
		}
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
		switch err := q.checkVersion(s); {
		case errors.Is(err, errNotRegular), errors.Is(err, fs.ErrNotExist): // The latter for a link to nothing.
			if err := q.moveOther(s); err != nil {
				return nil, err
			}
			continue
		case err != nil:
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
	n, _ := opened.ReadAt(header, 0) // A header that cannot be read is damage: see readSegment.
	if version, ok := segmentVersion(header[:n]); ok && version > formatVersion {
		return fmt.Errorf("%s has format %d and this program knows %d at most: start the newer program that wrote it",
			s.fileName(), version, formatVersion)
	}
	return nil
}

// moveOther takes something out of the log that has the name of a segment and is no file.
func (q *Queue) moveOther(s *segment) error {
	q.stats.Damaged++
	q.logger.Error(context.Background(), "outbox segment damaged: something else than a file is in its place, it is moved to damaged/",
		slog.F("segment", q.segmentPath(s)))
	err := q.files.Rename(q.segmentPath(s), filepath.Join(q.damagedDir(), s.fileName()))
	if err != nil {
		return fmt.Errorf("%w: %w", errNotRegular, err)
	}
	return nil
}

// checkEmpty counts it as damage if there is no segment, though an earlier process must have left one. A queue that was
// opened once has one, and the cursor, or the room in reserve, tells that it was.
func (q *Queue) checkEmpty(opened bool) error {
	if !opened {
		reserve, err := openReserve(q.files, q.dir, 0)
		if err != nil {
			return err
		}
		opened = reserve.size > 0
		if err := reserve.file.Close(); err != nil {
			return err
		}
	}
	if opened {
		q.stats.Damaged++
		q.logger.Error(context.Background(), "outbox segments missing: there is none, and what was in them is lost", slog.F("dir", q.dir))
	}
	return nil
}

// recoverSegment makes a segment part of the queue. A segment with nothing to deliver stays until a later one is
// durable.
func (q *Queue) recoverSegment(s *segment, at mark, last bool) error {
	s.base, s.first = q.end.position, q.end.entry
	begin := int64(0)
	switch {
	case s.number < at.segment:
		begin = math.MaxInt64
	case s.number == at.segment:
		begin = at.offset
	}
	if err := q.readSegment(s, begin, last); err != nil {
		return err
	}
	if s.entries > 0 && begin > s.offset(s.base) {
		q.read.position = s.position(begin)
	}
	q.segments = append(q.segments, s)
	q.end = place{s.first + s.entries, s.end()}
	return nil
}

// readSegment tells the owner what is in a segment, and counts the entries from an offset in its file on. Damage is set
// aside; an incomplete frame at the end of the last segment is only cut off. Then it syncs the segment: a process that
// was killed may have left entries there without a sync, and the next head will contain what the owner knows from them.
func (q *Queue) readSegment(s *segment, begin int64, last bool) error {
	opened, err := q.files.Open(q.segmentPath(s), os.O_RDWR)
	if err != nil {
		return err
	}
	defer opened.Close()
	if err := q.readOpened(s, opened, begin, last); err != nil {
		return err
	}
	return opened.Sync()
}

func (q *Queue) readOpened(s *segment, opened file, begin int64, last bool) error {
	limit, err := opened.Size()
	if err != nil {
		return err
	}
	limit = max(limit, s.known)
	scan := &scanner{file: opened, salt: s.salt}
	if last && s.known == 0 && scan.zeros(0, limit) && !scan.unreadable {
		limit = 0 // The machine stopped before anything of this was on its disk.
	}
	header := scan.window(0, segmentHeaderBytes, limit)
	if s.known > 0 && len(header) < segmentHeaderBytes {
		q.setAside(s, scan, 0, s.known)
		return opened.Truncate(0)
	}
	cut := last && len(header) < segmentHeaderBytes
	_, whole := segmentVersion(header)
	if !whole && !cut && len(header) > 0 {
		q.setAside(s, scan, 0, int64(len(header)))
	}
	scan.offset = segmentHeaderBytes
	for scan.offset < limit {
		expected := scan.offset
		f, found := scan.next(limit)
		switch {
		case !found:
			torn, end := scan.torn(expected, limit)
			if !last || expected < s.known {
				torn, end = false, max(end, s.known)
			}
			if !last {
				end = limit
			}
			if !torn || scan.unreadable {
				q.setAsideFrom(s, scan, begin, expected, end)
			}
			if expected == segmentHeaderBytes && !whole {
				expected = 0 // There is nothing in it.
			}
			if !s.keep && opened.Truncate(expected) == nil {
				// If one of the two fails, the next Open may find these bytes again, and take them for damage.
				_ = opened.Sync()
			}
			return nil
		case f.offset > expected:
			q.setAsideFrom(s, scan, begin, expected, f.offset)
		}
		q.recoverFrame(s, f, begin)
	}
	return nil
}

// recoverFrame tells the owner of a frame, and counts it if it is an entry at an offset of the file or behind it.
func (q *Queue) recoverFrame(s *segment, f frame, begin int64) {
	q.observe(f.kind, f.payload)
	if f.kind == Head {
		if f.offset == segmentHeaderBytes {
			s.head = frameBytes(f.payload)
		}
		return
	}
	if f.offset < begin {
		return
	}
	if s.entries == 0 && s.first == q.read.entry {
		q.oldest = f.at
	}
	s.entries++
	s.size = f.end() - s.offset(s.base)
}

// setAsideFrom sets a damaged stretch aside, without the part before an offset of the file, whose entries have been
// delivered. A stretch that is wholly before the offset is a loss to the owner only, and is set aside if there is an
// Observe.
func (q *Queue) setAsideFrom(s *segment, from *scanner, offset, begin, end int64) {
	switch {
	case offset < end:
		q.setAside(s, from, max(begin, offset), end)
	case q.options.Observe != nil:
		q.setAside(s, from, begin, end)
	}
}
