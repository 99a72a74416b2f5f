package outbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// TestFault077PendingLost removes segments of a backlog: what was in them leaves the count once it is known, while the
// receiver is still away, and nobody waits for it afterwards.
func TestFault077PendingLost(t *testing.T) {
	for _, test := range []struct {
		name    string
		remove  []int
		pending int
	}{{"the first", []int{0}, 6}, {"one between", []int{1}, 6}, {"the last", []int{3}, 6}, {"all", []int{0, 1, 2, 3}, 0}} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				q := mustOpen(t, dir, Options{files: quick{}, SegmentBytes: 80, ReserveBytes: 1})
				q.mu.Lock()
				q.recent.limit = 1 // So that all of it is on the disk only.
				q.mu.Unlock()
				mustAppend(t, q, numbered(0, 8)...)
				var (
					r    receiver
					away atomic.Bool
				)
				away.Store(true)
				stop := deliver(t, q, DeliverOptions{BatchEntries: 1}, func(ctx context.Context, entries [][]byte) ([]Failure, error) {
					if away.Load() {
						return nil, errors.New("away")
					}
					return r.send(ctx, entries)
				})
				time.Sleep(time.Second)
				segments := names(t, dir, "*.log")
				for _, n := range test.remove {
					must(t, os.Remove(segments[n]))
				}
				time.Sleep(2 * backoffMax)
				synctest.Wait()
				if s := q.Stats(); s.Pending != test.pending || s.Damaged != int64(len(test.remove)) || (s.Bytes == 0) != (s.Pending == 0) || (s.Age == 0) != (s.Pending == 0) {
					t.Errorf("%+v, want %d pending", s, test.pending)
				}
				away.Store(false)
				flush(t, q)
				stop()
				if s := q.Stats(); s.Pending != 0 || s.Bytes != 0 || s.Age != 0 {
					t.Errorf("at the end: %+v", s)
				}
				if n := len(r.entries()); n < test.pending {
					t.Errorf("%d entries were delivered, want %d", n, test.pending)
				}
				mustClose(t, q)
			})
		})
	}
}

// TestFault077DirectoryAway moves the directory of a queue away and back while entries wait: that is said, nothing counts as
// damaged, and all of them are delivered.
func TestFault077DirectoryAway(t *testing.T) {
	for _, away := range []bool{false, true} {
		above := t.TempDir()
		dir := filepath.Join(above, "records")
		synctest.Test(t, func(t *testing.T) {
			log := &logLines{}
			q := mustOpen(t, dir, Options{files: quick{}, SegmentBytes: 80, ReserveBytes: 1, Logger: slog.Make(log)})
			q.mu.Lock()
			q.recent.limit = 1
			q.mu.Unlock()
			mustAppend(t, q, numbered(0, 8)...)
			var r receiver
			var receiverAway atomic.Bool
			receiverAway.Store(away)
			stop := deliver(t, q, DeliverOptions{BatchEntries: 1}, func(ctx context.Context, entries [][]byte) ([]Failure, error) {
				if receiverAway.Load() {
					return nil, errors.New("away")
				}
				if !away && len(r.entries()) == 2 {
					_ = os.Rename(dir, dir+"-away")
				}
				return r.send(ctx, entries)
			})
			time.Sleep(time.Second)
			if away {
				must(t, os.Rename(dir, dir+"-away"))
			}
			time.Sleep(3 * backoffMax)
			synctest.Wait()
			if s := q.Stats(); s.Damaged != 0 || s.Pending == 0 || log.count("directory is gone") == 0 && log.count("no such file") == 0 || log.count("lost") != 0 {
				t.Errorf("while it is away: %+v, %q", s, log.lines)
			}
			must(t, os.Rename(dir+"-away", dir))
			receiverAway.Store(false)
			flush(t, q)
			stop()
			checkEntries(t, r.entries(), numbered(0, 8))
			if s := q.Stats(); s.Damaged != 0 || log.count("lost") != 0 {
				t.Errorf("%+v, %q", s, log.lines)
			}
			mustClose(t, q)
		})
	}
}
