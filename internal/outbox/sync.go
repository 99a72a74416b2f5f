package outbox

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"
)

const (
	// syncDelay is how long written entries wait for a sync that nothing asks for. It is shorter than nearly every
	// upstream takes to answer, so that a start is durable by then. It is longer than the answer of an upstream that
	// answers at once: the records of such an answer share a sync with their start.
	syncDelay = 4 * time.Millisecond
	// kernelInterval is how long Kernel entries wait for their sync: until then, they are lost if the machine stops.
	kernelInterval = 100 * time.Millisecond
)

// Commit is what an Append still has to wait for. The zero Commit waits for nothing.
type Commit struct {
	queue *Queue
	group *group
}

// group is the commits that wait for the same sync.
type group struct {
	done chan struct{}
	err  error // Set before done is closed.
}

// Wait returns when what was appended is as durable as the queue makes it: in Sync, when a sync that began after the
// write has succeeded; otherwise at once. The first Wait makes that sync begin, if it has not begun by itself. It fails
// with [ErrFailed] if the entries cannot be made durable, and with the context's error. It may be called any number of
// times, from any goroutine.
func (c Commit) Wait(ctx context.Context) error {
	if c.group == nil {
		return nil
	}
	select {
	case <-c.group.done:
		return c.group.err
	default:
	}
	c.queue.ask(c.group)
	select {
	case <-c.group.done:
		return c.group.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask makes the sync that a group waits for begin at once, unless it has begun.
func (q *Queue) ask(g *group) {
	q.mu.Lock()
	gathering := q.gathering == g
	q.mu.Unlock()
	if gathering {
		q.syncNow()
	}
}

// syncNow wakes the syncer.
func (q *Queue) syncNow() {
	select {
	case q.asked <- struct{}{}:
	default:
	}
}

// requestSync sees to it that what was written is synced after q.delay, and returns the commit that waits for that.
func (q *Queue) requestSync() Commit {
	if q.options.Durability == Memory {
		return Commit{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.due {
		q.due = true
		q.timer.Reset(q.delay)
	}
	// In Kernel, only Close waits.
	if q.options.Durability != Sync && !q.closing {
		return Commit{}
	}
	if q.gathering == nil {
		q.gathering = &group{done: make(chan struct{})}
	}
	return Commit{q, q.gathering}
}

// syncLoop syncs what is due until the queue is closed, and then once more. While one sync runs, all who append gather
// for the next.
func (q *Queue) syncLoop() {
	defer close(q.synced)
	defer q.timer.Stop()
	stock := stoppedTimer()
	defer stock.Stop()
	for behind := false; ; {
		select {
		case <-q.asked:
			runtime.Gosched() // The goroutines that the last sync released can append their next entries first, and share this sync.
		case <-q.timer.C:
		case <-stock.C:
			behind = false
			q.noteStock()
			continue
		case <-q.closed:
			q.sync()
			q.noteStock()
			return
		}
		q.sync()
		if !behind {
			behind = true
			stock.Reset(stockDelay)
		}
	}
}

// sync makes durable what has been written up to now. The caller is the syncer.
func (q *Queue) sync() {
	q.mu.Lock()
	group, end, unnamed := q.gathering, q.end, q.unnamed
	unsynced := slices.Clone(q.unsynced)
	q.gathering, q.unnamed, q.due = nil, false, false
	q.timer.Stop()
	q.mu.Unlock()

	err := q.syncFiles(unsynced, unnamed)
	if err == nil {
		q.settle(end, unsynced, true)
		q.noteSafe(true)
		q.reach(end)
		if unnamed {
			q.noteStock()
		}
	} else {
		err = q.abandon(err)
	}
	group.finish(err)
	q.reclaim()
}

func (g *group) finish(err error) {
	if g != nil {
		g.err = err
		close(g.done)
	}
}

func (q *Queue) syncFiles(segments []*segment, unnamed bool) error {
	for _, s := range segments {
		if err := s.file.Sync(); err != nil {
			return err
		}
	}
	if unnamed {
		return q.files.SyncDir(q.dir)
	}
	return nil
}

// noteSafe notes whether the last sync succeeded, or else what was written in its place.
func (q *Queue) noteSafe(safe bool) {
	q.mu.Lock()
	q.unsafe = !safe
	q.mu.Unlock()
}

// settle notes that everything before end, in these segments, needs no sync any more, and whether the disk made it
// durable. It closes the files that are no longer written to.
func (q *Queue) settle(end place, segments []*segment, synced bool) {
	var clean []file
	q.mu.Lock()
	for _, s := range segments {
		s.lasting = s.lasting || synced
		if synced {
			s.synced = min(s.end(), end.position)
		}
	}
	q.unsynced = slices.DeleteFunc(q.unsynced, func(s *segment) bool {
		if s.end() > end.position || !slices.Contains(segments, s) {
			return false
		}
		if s != q.active {
			clean = append(clean, s.file)
			s.file = nil
		}
		return true
	})
	q.mu.Unlock()
	for _, f := range clean {
		_ = f.Close()
	}
}

// reach notes that everything before end is as durable as it will be, and that it can be read where it is now.
func (q *Queue) reach(end place) {
	q.mu.Lock()
	more := end != q.durable
	q.durable = end
	q.mu.Unlock()
	if more {
		q.wakeConsumer()
	}
}

// abandon gives up the segments whose sync failed. The kernel may have thrown away what they should hold, and a second
// sync would succeed without it: what has not been synced is written again, to another segment, and that one is synced.
// None of it has been delivered. If that fails too, the commits that wait fail, and the entries are still delivered as
// long as they can be read.
func (q *Queue) abandon(cause error) error {
	q.appending.Lock()
	defer q.appending.Unlock()
	q.mu.Lock()
	q.stats.AppendErrors++
	gathered, end, begin, unsynced := q.gathering, q.end, q.durable, slices.Clone(q.unsynced)
	q.gathering = nil
	q.mu.Unlock()

	q.seal()
	again, err := q.rewrite(begin, end)
	q.settle(end, unsynced, false)
	if again != nil {
		q.replace(begin, again)
	}
	q.reach(end) // Not earlier: entries in a segment that is given up may not be there any more.
	q.noteSafe(err == nil)
	if err != nil {
		err = fmt.Errorf("%w: sync: %w; then: %w", ErrFailed, cause, err)
		q.complain("records may not outlive this machine", err)
	} else {
		q.complain("a sync failed: its records have been written again", cause)
	}
	gathered.finish(err)
	return err
}

// rewrite writes the entries of a stretch to a new segment and syncs it. Each keeps its position, and an entry that
// cannot be read any more leaves a hole. The segment is nil if it could not be written; the error says what is not
// safe. The caller has q.appending.
func (q *Queue) rewrite(begin, end place) (*segment, error) {
	s, err := q.createSegment(begin)
	if err != nil {
		return nil, err
	}
	s.size, s.entries = end.position-begin.position, end.entry-begin.entry
	missing, err := q.copyEntries(s, begin, end)
	if err == nil {
		err = q.syncFiles([]*segment{s}, true)
	}
	if err != nil {
		_ = s.file.Close()
		_ = q.files.Remove(q.segmentPath(s))
		return nil, err
	}
	s.lasting, s.synced = true, end.position
	if missing > 0 {
		return s, fmt.Errorf("%d bytes could not be read again", missing)
	}
	return s, nil
}

// copyEntries writes the entries of a stretch to where they belong in s, and returns how many bytes of it were missing.
func (q *Queue) copyEntries(s *segment, begin, end place) (missing int64, err error) {
	from := q.newReader(begin, func() place { return end })
	defer from.close()
	missing = end.position - begin.position
	for {
		items, err := from.take(defaultBatchEntries, defaultBatchBytes)
		if err != nil || len(items) == 0 {
			return missing, err
		}
		for _, i := range items {
			if _, err := s.file.WriteAt(appendFrame(nil, s.salt, i.kind, i.at, i.payload), s.offset(i.position)); err != nil {
				return missing, err
			}
			missing -= frameBytes(i.payload)
		}
	}
}

// replace puts a segment in the place of everything from its base on, and makes it the active one. The caller has
// q.appending and has settled the others.
func (q *Queue) replace(begin place, s *segment) {
	q.mu.Lock()
	var gone []*segment
	q.segments = slices.DeleteFunc(q.segments, func(old *segment) bool {
		if old.base < s.base || old.end() <= s.base {
			return false
		}
		gone = append(gone, old)
		return true
	})
	for _, old := range q.segments {
		if old.end() > s.base {
			old.size, old.entries = s.base-old.base, begin.entry-old.first
		}
	}
	q.segments = append(q.segments, s)
	q.active = s
	q.mu.Unlock()
	if err := q.takeLastingStock(); err != nil {
		q.complain("outbox inventory cannot be written: segments may count as missing that are not", err)
	}
	for _, old := range gone {
		_ = q.files.Remove(q.segmentPath(old))
	}
}
