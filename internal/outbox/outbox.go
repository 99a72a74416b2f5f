// Package outbox is a durable queue on one machine's disk: entries that are appended are delivered later, in order, by
// one consumer, until the receiver has taken them. An entry is a slice of bytes; the queue never looks into it.
//
//	queue, err := outbox.Open(dir, outbox.Options{Logger: logger})
//	commit, err := queue.Append(start)           // Written, and to be synced within a few milliseconds.
//	err = commit.Wait(ctx)                       // Durable. All who wait at the same time share one sync.
//	go queue.Deliver(ctx, outbox.DeliverOptions{}, send)
//
// After a crash or a lost answer, an entry can be delivered more than once: the receiver has to recognise what it has.
// When the queue is full, it refuses new entries and drops none. It keeps room in reserve for entries that end
// something that has begun: these are appended with [Queue.AppendReserved].
//
// # What the owner knows
//
// An owner may need to know what follows from its entries, such as what has started and not ended, and to know it again
// after a crash. So Options.Observe is called for each entry when it is appended and, in a later process, when the log
// is read again. The head of the log's oldest segment stands for everything before that segment: it is what
// Options.Head returned when the segment was begun.
//
// # On disk
//
// The directory has a log in segments, NNNNNNNNNNNN-SSSSSSSS.log: a number, and a salt that ties frames to their
// segment (see [MaxEntryBytes] and frame.go for the format). The last segment may end in zeros, which are written ahead
// of its frames and cut off when the next segment begins. Nothing is appended to a segment that an earlier Open began.
// A segment is removed once all its entries have been delivered and a later segment is on the disk with its head. The
// file "cursor" says where delivery goes on, "segments" which segments there are and how long each must be at least,
// "lock" belongs to the process that has the queue open, and "reserve" only takes up room that can be given up. dead/
// has entries that the receiver refuses, retry/ those that [Resend] moved back, damaged/ the bytes that could not be
// read as entries.
//
// # Damage
//
// An incomplete frame at the end of the last segment was never acknowledged, and is ignored: it is zeros, or the first
// sectors of a frame and then nothing but zeros. A segment that is missing, or ends before what was synced of it, is
// damaged like one whose bytes have changed. Where the inventory is missing, that is damage itself, unless an older
// program wrote the directory, which kept none; then a gap in the numbers of the segments tells what is missing. Any
// damage costs the entries that it hit: it is logged, counted and set aside, and the rest is delivered. A segment of a
// newer version is left alone, and [Open] fails.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"cdr.dev/slog/v3"
)

// Errors that callers tell apart with [errors.Is].
var (
	// ErrFull says that as much is pending as Options.MaxBytes allows, or that the disk has no room. It passes once
	// entries are delivered or the disk has room again.
	ErrFull = errors.New("queue is full")
	// ErrFailed says that the disk failed: what was to be appended or synced may not be there after a crash.
	ErrFailed = errors.New("disk failed")
	// ErrInUse says that another process, or another Queue of this one, has the directory. The number of the process
	// follows where it is known.
	ErrInUse = errors.New("in use by process")
	// ErrClosed says that the queue has been closed.
	ErrClosed = errors.New("queue is closed")
)

// Durability says what an entry outlives once its commit has been waited for.
type Durability int

const (
	// Sync entries outlive the machine: [Commit.Wait] returns when they are on the disk.
	Sync Durability = iota
	// Kernel entries outlive the process, and the machine after 100 ms: they are written at once and synced later.
	Kernel
	// Memory entries end with the queue. There are no files.
	Memory
)

const (
	defaultSegmentBytes   = 32 << 20
	defaultMaxBytes       = 1 << 30
	defaultMaxMemoryBytes = 64 << 20
	defaultReserveBytes   = 1 << 20
	// recentBytes is how many bytes of the entries appended last stay in memory as well.
	recentBytes = 1 << 20
	// complainInterval is the least time between two log lines about a disk that goes on failing.
	complainInterval = 10 * time.Second
)

// Options are the options of a queue. The zero Options are ready to use.
type Options struct {
	// Durability is what entries outlive. Zero means Sync.
	Durability Durability
	// SegmentBytes is how large a file of the log becomes before the next one begins, unless one Append is larger. Zero
	// means 32 MiB.
	SegmentBytes int64
	// MaxBytes bounds the bytes that are pending, counted with 20 more for each entry. Zero means 1 GiB, or 64 MiB in
	// Memory.
	MaxBytes int64
	// ReserveBytes is how much room Append leaves to AppendReserved: of MaxBytes, and on the disk, where a file of that
	// size keeps it. Zero means 1 MiB. It is never more than a quarter of MaxBytes. On a disk without room for all of it,
	// it is half of that, and so on down to 64 KiB; Open fails where there is less.
	ReserveBytes int64
	// Observe is called for what the log holds, in its order: within Open, for all that earlier processes left in the
	// segments that are still there, delivered or not; from then on, for each entry that is appended, before Append
	// returns. It is not called again for entries that [Resend] moved back.
	//
	// A Head, which Observe gets within Open only, replaces everything before it. It may already contain what the
	// entries behind it say: entries that the disk failed to sync are written again, behind a new head, and may be in
	// the log twice. So it must make no difference to the owner if a run of entries is repeated.
	//
	// Calls of Observe and Head never overlap. They must not call the queue, and the slice must be neither kept nor
	// changed. Nil observes nothing.
	Observe func(kind Kind, entry []byte)
	// Head is called when a segment is begun. What it returns, [MaxEntryBytes] at most, is written at the segment's
	// beginning and given to Observe when a later process reads the log. It is never delivered and does not count as
	// pending. Since segments are removed once they are delivered, it has to hold everything given to Observe up to now
	// that still matters. If it is empty, no head is written. The slice is not kept. In Memory, Head is not called.
	Head func() []byte
	// Lock is the lock of the directory, if the owner has taken it already, for what it does before Open and after Close.
	// It stays the owner's. Nil means that Open takes the lock and Close releases it.
	Lock *Lock
	// Logger is told of damage, of failures and of entries that are set aside, never of what is in them. The zero Logger
	// says nothing.
	Logger slog.Logger

	files fileSystem // The disk if nil.
}

// Queue is a queue of entries. It is safe for concurrent use. The caller of Open closes it.
type Queue struct {
	dir       string
	options   Options
	files     fileSystem
	logger    slog.Logger
	lock      io.Closer       // Nil in Memory, and where Options.Lock is given.
	cursor    *cursor         // Of the consumer; nil in Memory.
	inventory *inventory      // Nil in Memory.
	taken     map[string]bool // Of the consumer: files in retry/ that were appended, and whether they are to be removed.
	opened    time.Time       // With the monotonic clock, which all times are counted by: see now.

	wake   chan struct{} // More may be handed out: see deliverable. Has room for one.
	hurry  chan struct{} // Somebody waits until all is delivered. Has room for one.
	asked  chan struct{} // Somebody waits for a sync. Has room for one.
	closed chan struct{}
	synced chan struct{} // Closed when the syncer has returned.
	timer  *time.Timer   // The syncer's. Set under mu.
	delay  time.Duration // Of a sync that nobody asks for.

	// appending is held while entries are written, and while another segment is put in the place of the active one. It
	// is taken before mu.
	appending  sync.Mutex
	active     *segment // Changed under appending and mu. Nil: the next Append begins one.
	lastNumber uint64   // Of the last segment. Guarded by appending.
	reserve    *reserve // Guarded by appending; nil in Memory.

	// mu guards what follows. It is never held during a call to the disk.
	mu         sync.Mutex
	closing    bool
	delivering *delivery  // Nil if nobody delivers.
	segments   []*segment // Not yet all delivered, oldest first. The active one is the last.
	recent     recent
	end        place // Where the next entry will be.
	read       place // Up to where entries have been delivered or set aside.
	oldest     int64 // When the first entry after read was appended, as far as known.
	emptied    chan struct{}
	flushing   int                  // How many wait in Flushed.
	refused    int64                // How large the last entries were that MaxBytes had no room for.
	halfFull   int64                // Since when more than half of MaxBytes is pending; zero: it is not.
	unsafe     bool                 // The last sync failed.
	full       bool                 // The disk had no room at the last try, or not for all of the reserve.
	freed      bool                 // A segment was removed since the reserve was last looked at: see admit.
	complained map[string]time.Time // When a failure was logged last, by the message.

	unsynced  []*segment // Those that have something to sync.
	unnamed   bool       // A segment's name is to be synced.
	durable   place      // Up to where entries have been synced, or given up.
	gathering *group     // Who waits for the next sync.
	due       bool       // The timer runs: something is to be synced.

	graves     []grave // Dead entries that are in no file: in Memory, and while the disk takes none.
	graveBytes int
	stats      Stats
}

// Open opens the queue in a directory, which is made if it is missing, and recovers what an earlier process left there.
// dir may be empty in Memory, where it is not used. Errors are one line and say what to do. The caller closes the
// queue.
func Open(dir string, options Options) (*Queue, error) {
	q := newQueue(dir, options)
	if options.Durability == Memory {
		close(q.synced) // Nobody syncs.
		return q, nil
	}
	if dir == "" {
		return nil, errors.New("outbox: no directory: name one, or use Memory")
	}
	if err := q.start(); err != nil {
		return nil, explain(dir, err)
	}
	go q.syncLoop()
	q.takeBack(context.Background())
	return q, nil
}

func newQueue(dir string, options Options) *Queue {
	options.SegmentBytes = or(options.SegmentBytes, defaultSegmentBytes)
	q := &Queue{
		dir: dir, files: options.files, logger: options.Logger, opened: time.Now(),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), asked: make(chan struct{}, 1),
		closed: make(chan struct{}), synced: make(chan struct{}),
		timer: stoppedTimer(), delay: syncDelay,
		recent: recent{limit: recentBytes}, taken: make(map[string]bool), complained: make(map[string]time.Time),
	}
	if options.Durability == Memory {
		options.MaxBytes = or(options.MaxBytes, defaultMaxMemoryBytes)
		q.recent.limit = 0
	}
	if options.Durability == Kernel {
		q.delay = kernelInterval
	}
	options.MaxBytes = or(options.MaxBytes, defaultMaxBytes)
	options.ReserveBytes = min(or(options.ReserveBytes, defaultReserveBytes), options.MaxBytes/4)
	q.options = options
	if q.files == nil {
		q.files = disk{}
	}
	return q
}

func stoppedTimer() *time.Timer {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return timer
}

// or returns value, or otherwise if that is zero.
func or[T int | int64](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// start takes the directory and makes the queue ready to append to.
func (q *Queue) start() (err error) {
	for _, dir := range []string{q.dir, q.deadDir(), q.retryDir(), q.damagedDir()} {
		if err := q.files.MakeDir(dir); err != nil {
			return err
		}
	}
	switch lent := q.options.Lock; {
	case lent == nil:
		if q.lock, err = q.files.Lock(lockPath(q.dir)); err != nil {
			return err
		}
	case lent.dir != q.dir:
		return fmt.Errorf("the lock that is given is of %s", lent.dir)
	}
	defer func() {
		if err != nil {
			q.release()
		}
	}()
	if err := q.recover(); err != nil {
		return err
	}
	if q.reserve, err = openReserve(q.files, q.dir, q.options.ReserveBytes); err != nil {
		return err
	}
	q.noteFill(q.now())
	q.appending.Lock()
	defer q.appending.Unlock()
	// The first segment is made now and not by the first Append, so that a disk on which no file can be made is noticed
	// at the start.
	if err := q.beginReserved(); err != nil {
		return err
	}
	if err := q.syncFiles(q.unsynced, q.unnamed); err != nil {
		return err
	}
	q.unnamed = false
	q.settle(q.end, slices.Clone(q.unsynced), true)
	for _, s := range q.segments {
		s.lasting, s.synced = true, s.end() // Those that were there have been synced when they were read.
	}
	if err := q.beginStock(); err != nil {
		return err
	}
	if err := q.cursor.write(q.markOf(q.read)); err != nil {
		return err
	}
	if err := q.cursor.file.Sync(); err != nil {
		return err
	}
	q.reclaim()        // That may make room for the reserve.
	q.reserve.size = 0 // All of it is written anew: the disk may have lost some.
	return q.reserve.fill()
}

// Flushed waits until nothing is pending. Another goroutine must be in Deliver meanwhile. If the context or the queue
// ends before, it returns the context's error or [ErrClosed], and the entries that are left stay where they are.
func (q *Queue) Flushed(ctx context.Context) error {
	q.mu.Lock()
	q.flushing++
	unsynced := q.deliverable() != q.end
	q.mu.Unlock()
	select {
	case q.hurry <- struct{}{}:
	default:
	}
	if unsynced {
		q.syncNow()
	}
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.flushing--
	}()
	for {
		q.mu.Lock()
		if q.read.entry == q.end.entry {
			q.mu.Unlock()
			return nil
		}
		if q.emptied == nil {
			q.emptied = make(chan struct{})
		}
		emptied := q.emptied
		q.mu.Unlock()
		select {
		case <-emptied:
		case <-ctx.Done():
			return ctx.Err()
		case <-q.closed:
			return ErrClosed
		}
	}
}

// Close ends Deliver, syncs, and releases the directory. It ends the context of the Send that is under way, and waits
// for it. What has not been delivered stays on disk for the next Open; in Memory it is lost. The error, if there is
// one, says that the last sync failed; the queue is closed all the same.
func (q *Queue) Close() error {
	q.mu.Lock()
	if q.closing {
		q.mu.Unlock()
		return ErrClosed
	}
	q.closing = true
	q.mu.Unlock()

	q.appending.Lock() // An Append that is under way ends; no other begins.
	q.seal()
	commit := q.requestSync()
	q.appending.Unlock()
	close(q.closed)
	<-q.synced
	q.endDeliver()
	defer q.release()
	if pending := q.Stats().Pending; pending > 0 && q.options.Durability == Memory {
		q.logger.Warn(context.Background(), "outbox closed with entries in memory: they are lost", slog.F("entries", pending))
	}
	if err := commit.Wait(context.Background()); err != nil {
		return fmt.Errorf("outbox %s: close: %w", q.dir, err)
	}
	return nil
}

// release closes all files.
func (q *Queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.segments {
		if s.file != nil {
			_ = s.file.Close()
			s.file = nil
		}
	}
	if q.cursor != nil {
		_ = q.cursor.file.Close()
	}
	if q.inventory != nil {
		_ = q.inventory.file.Close()
	}
	if q.reserve != nil {
		_ = q.reserve.file.Close()
	}
	if q.lock != nil {
		_ = q.lock.Close()
	}
}

// complain logs a failure of the disk, unless it did so a moment ago. The message is a constant.
func (q *Queue) complain(msg string, err error) {
	q.mu.Lock()
	last, known := q.complained[msg]
	quiet := known && time.Since(last) < complainInterval
	if !quiet {
		q.complained[msg] = time.Now()
	}
	q.mu.Unlock()
	if !quiet {
		q.logger.Error(context.Background(), msg, slog.F("dir", q.dir), slog.Error(err))
	}
}

// segmentAt returns the segment of the entry at a position, or the next one if it is in none; nil if there is none. The
// caller has mu, or is the only user of the queue.
func (q *Queue) segmentAt(position int64) *segment {
	for _, s := range q.segments {
		if s.end() > position {
			return s
		}
	}
	return nil
}

// markOf returns where on disk a place is. If there is no segment, it returns the zero mark: there is nothing that
// could be delivered twice. The caller has mu, or is the only user of the queue.
func (q *Queue) markOf(p place) mark {
	if s := q.segmentAt(p.position); s != nil {
		return mark{s.number, s.offset(max(p.position, s.base))}
	}
	if len(q.segments) == 0 {
		return mark{}
	}
	last := q.segments[len(q.segments)-1]
	return mark{last.number, last.offset(last.end())}
}
