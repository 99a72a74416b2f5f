package outbox

import "time"

// Stats is the state of a queue. The counters count from when it was opened.
type Stats struct {
	// Pending is how many entries are still to be delivered, and Bytes how much room they take, with what is damaged
	// between them. Those in segments that somebody took away are not among them, unless they are in memory, too.
	Pending int
	Bytes   int64
	// Age is how long the oldest of them has been waiting; zero if there is none. It is never negative. If the oldest
	// entry is on disk only, and none is being delivered, it is the age of the entry before it.
	Age time.Duration
	// Delivered counts entries that were taken by the receiver.
	Delivered int64
	// Dead is how many entries are set aside at present because the receiver refuses them. If their files are removed
	// in another way than by [Resend], the count is right again after the next Resend or Open.
	Dead int
	// AppendErrors counts calls of Append and AppendReserved that were refused for want of room or that failed, and syncs
	// that failed.
	AppendErrors int64
	// Damaged counts what was not as it was written: stretches of segments, the cursor, and files in retry/.
	Damaged int64
}

// Stats returns how the queue is at this moment. It reads no file and waits for no disk.
func (q *Queue) Stats() Stats {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	stats := q.stats
	lostEntries, lostBytes := q.lost()
	stats.Pending = int(q.end.entry - q.read.entry - lostEntries)
	stats.Dead += len(q.graves)
	stats.Bytes = q.end.position - q.read.position - lostBytes
	if stats.Pending > 0 {
		oldest := q.oldest
		if items := q.recent.from(q.read.position); len(items) > 0 {
			oldest = items[0].at
		}
		stats.Age = time.Duration(max(0, now-oldest))
	}
	return stats
}

// lost returns how many entries wait that are known to be lost, and their bytes: those of segments whose files are gone,
// except what is in memory, too. The caller has mu.
func (q *Queue) lost() (entries uint64, bytes int64) {
	kept := q.end // From where on all is in memory.
	if items := q.recent.items[q.recent.head:]; len(items) > 0 {
		kept = items[0].place
	}
	for _, s := range q.segments {
		from, to := place{s.first, s.base}, place{s.first + s.entries, s.end()}
		if from.position < q.read.position {
			from = q.read
		}
		if to.position > kept.position {
			to = kept
		}
		if s.unnamed && from.position < to.position {
			entries, bytes = entries+to.entry-from.entry, bytes+to.position-from.position
		}
	}
	return entries, bytes
}

// now returns the time in nanoseconds since 1970, by the clock as it was when the queue was opened: a clock that is set
// later changes no age.
func (q *Queue) now() int64 { return q.opened.Add(time.Since(q.opened)).UnixNano() }
