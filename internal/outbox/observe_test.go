package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// told remembers what Observe was told. The queue makes one call at a time: the race detector holds it to that.
type told struct{ lines []string }

func (o *told) observe(kind Kind, entry []byte) {
	switch kind {
	case Entry:
		o.lines = append(o.lines, string(entry))
	case Head:
		o.lines = append(o.lines, "head "+string(entry))
	default:
		o.lines = append(o.lines, fmt.Sprintf("kind %d", kind))
	}
}

// counted returns a Head function whose heads say how many it has returned.
func counted() func() []byte {
	heads := 0
	return func() []byte {
		heads++
		return fmt.Append(nil, heads)
	}
}

// TestObserveAppend checks that Observe is told of what was appended, in the order of delivery, and of nothing else.
func TestObserveAppend(t *testing.T) {
	for name, durability := range durabilities() {
		t.Run(name, func(t *testing.T) {
			var o told
			q := mustOpen(t, t.TempDir(), Options{
				Durability: durability, SegmentBytes: 1 << 10, MaxBytes: 1 << 20, Observe: o.observe, Head: counted(),
			})
			if _, err := q.Append(make([]byte, 1<<20)); err == nil {
				t.Error("it is to be refused")
			}
			var appenders sync.WaitGroup
			for a := range 8 {
				appenders.Go(func() {
					for n := range 50 {
						add := q.Append
						if n%3 == 0 {
							add = q.AppendReserved
						}
						if _, err := add(fmt.Appendf(nil, "%d %d", a, n), fmt.Appendf(nil, "%d %d again", a, n)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			appenders.Wait()
			checkEntries(t, o.lines, drain(t, q))
			mustAppend(t, q, "told before Append returns")
			if last := o.lines[len(o.lines)-1]; len(o.lines) != 801 || last != "told before Append returns" {
				t.Errorf("%d entries, the last %q", len(o.lines), last)
			}
		})
	}
}

// TestObserveOpen checks that a later process is told all that is in the segments that are left, delivered or not.
func TestObserveOpen(t *testing.T) {
	dir := t.TempDir()
	options := Options{files: quick{}, SegmentBytes: 2*(frameOverhead+7) + frameOverhead + 1, Head: counted()}
	q := mustOpen(t, dir, options)
	mustAppend(t, q, numbered(0, 7)...)
	if s := q.Stats(); s.Bytes != 7*(frameOverhead+7) {
		t.Errorf("%+v: heads are not pending", s)
	}
	deliverSome(t, q, 3)
	mustClose(t, q)

	var o told
	options.Observe = o.observe
	q = mustOpen(t, dir, options)
	want := []string{"head 2", "entry 2", "entry 3", "head 3", "entry 4", "entry 5", "head 4", "entry 6"}
	checkEntries(t, o.lines, want)
	if s := q.Stats(); s.Pending != 4 || s.Bytes != 4*(frameOverhead+7) {
		t.Errorf("%+v", s)
	}
	checkEntries(t, drain(t, q), numbered(3, 7))
	mustAppend(t, q, "entry 7")
	checkEntries(t, o.lines, append(want, "entry 7"))
	mustClose(t, q)

	// Of the time before the last segment, only its head is left.
	o = told{}
	q = mustOpen(t, dir, options)
	checkEntries(t, o.lines, []string{"head 5", "entry 7"})
	mustAppend(t, q, "entry 8", "entry 9")
	deliverSome(t, q, 2)
	mustClose(t, q)
	o = told{} // What was delivered is told as well, as long as it is there.
	q = mustOpen(t, dir, options)
	checkEntries(t, o.lines, []string{"head 6", "entry 8", "entry 9"})
	checkEntries(t, drain(t, q), []string{"entry 9"})
}

// deliverSome delivers so many entries and returns them.
func deliverSome(t *testing.T, q *Queue, entries int) []string {
	t.Helper()
	var r receiver
	for range entries {
		ctx, cancel := context.WithCancel(t.Context())
		err := q.Deliver(ctx, DeliverOptions{BatchEntries: 1}, func(ctx context.Context, entries [][]byte) ([]Failure, error) {
			cancel()
			return r.send(ctx, entries)
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	return r.entries()
}

// TestObserveResent checks that what was dead and is sent again is not told again, not even to a later process.
func TestObserveResent(t *testing.T) {
	for name, durability := range durabilities() {
		t.Run(name, func(t *testing.T) {
			var o told
			dir, options := t.TempDir(), Options{Durability: durability, Observe: o.observe}
			q := mustOpen(t, dir, options)
			mustAppend(t, q, "one", "two")
			stop := deliver(t, q, DeliverOptions{}, refuseAll)
			flush(t, q)
			stop()
			if n, err := q.Resend(); n != 2 || err != nil {
				t.Fatalf("%d, %v", n, err)
			}
			q.lookAround(t.Context())
			mustAppend(t, q, "three")
			want := []string{"one", "two", "three"}
			checkEntries(t, o.lines, want)
			if s := q.Stats(); s.Pending != 3 {
				t.Errorf("%+v", s)
			}
			if durability == Memory {
				return
			}
			mustClose(t, q)
			o = told{}
			q = mustOpen(t, dir, options)
			checkEntries(t, o.lines, want)
			got := drain(t, q)
			slices.Sort(got)
			checkEntries(t, got, []string{"one", "three", "two"})
		})
	}
}

// TestObserveMoved checks that an entry that is written again after a failed sync keeps its kind: a resent one is still
// not told.
func TestObserveMoved(t *testing.T) {
	for _, inMemory := range []bool{true, false} {
		dir, files := withDead(t, "dead"), newFaultyFiles()
		var o told
		q := mustOpen(t, dir, Options{files: files, Observe: o.observe, Head: counted()})
		if !inMemory {
			q.recent.limit = 1
		}
		if _, err := q.Resend(); err != nil {
			t.Fatal(err)
		}
		failed := false
		files.set(func(call, path string) error {
			if call == "sync" && !failed {
				failed = true
				return syscall.EIO
			}
			return nil
		})
		q.lookAround(t.Context()) // Has its sync fail.
		files.set(nil)
		mustAppend(t, q, "alive")
		checkEntries(t, o.lines, []string{"dead", "alive"})
		mustClose(t, q)
		if n := len(names(t, dir, "*.log")); !failed || n != 1 {
			t.Errorf("%d segments: the one that was given up is to be gone", n)
		}
		o = told{}
		q = mustOpen(t, dir, Options{Observe: o.observe})
		checkEntries(t, o.lines, []string{"head 2", "alive"})
		checkEntries(t, drain(t, q), []string{"dead", "alive"})
	}
}

// TestHead has heads of all sizes.
func TestHead(t *testing.T) {
	for _, size := range []int{0, 1, 100, scanBytes, 2 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var o told
			dir, head := t.TempDir(), bytes.Repeat([]byte("h"), size)
			options := Options{files: quick{}, SegmentBytes: 150, Observe: o.observe, Head: func() []byte { return head }}
			q := mustOpen(t, dir, options)
			mustAppend(t, q, numbered(0, 6)...)
			var want []string
			wantSize := segmentHeaderBytes + frameOverhead + 7
			switch perSegment := (150 - frameOverhead - size) / (frameOverhead + 7); {
			case size == 0:
				want, wantSize = numbered(0, 6), segmentHeaderBytes+5*(frameOverhead+7)
			default:
				perSegment = max(1, perSegment)
				wantSize = segmentHeaderBytes + frameOverhead + size + perSegment*(frameOverhead+7)
				for n, entry := range numbered(0, 6) {
					if n%perSegment == 0 {
						want = append(want, "head "+string(head))
					}
					want = append(want, entry)
				}
			}
			if content := readFile(t, names(t, dir, "*.log")[0]); len(content) != wantSize {
				t.Errorf("the first segment has %d bytes, want %d", len(content), wantSize)
			}
			mustClose(t, q)
			o = told{}
			q = mustOpen(t, dir, options)
			checkEntries(t, o.lines, want)
			checkEntries(t, drain(t, q), numbered(0, 6))
			if s := q.Stats(); s.Damaged != 0 || s.Delivered != 6 || s.Bytes != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		dir := t.TempDir()
		_, err := Open(dir, Options{Head: func() []byte { return make([]byte, MaxEntryBytes+1) }})
		if err == nil || strings.Contains(err.Error(), "\n") || len(names(t, dir, "*.log")) != 0 {
			t.Errorf("%v, %q", err, names(t, dir, "*.log"))
		}
	})
}

// TestFault077Head checks that a head that is damaged costs no entry, and no other head.
func TestFault077Head(t *testing.T) {
	dir := t.TempDir()
	options := Options{files: quick{}, SegmentBytes: 100, Head: counted()}
	q := mustOpen(t, dir, options)
	mustAppend(t, q, numbered(0, 6)...)
	mustClose(t, q)
	first := filepath.Base(names(t, dir, "*.log")[0])
	content := readFile(t, filepath.Join(dir, first))
	for at := segmentHeaderBytes; at < segmentHeaderBytes+frameOverhead+1; at++ {
		after := t.TempDir()
		if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		damaged := bytes.Clone(content)
		damaged[at] ^= 0xff
		writeFile(t, filepath.Join(after, first), damaged)
		var o told
		options.Observe = o.observe
		q := mustOpen(t, after, options)
		checkEntries(t, o.lines, []string{"entry 0", "entry 1", "head 2", "entry 2", "entry 3", "head 3", "entry 4", "entry 5"})
		checkEntries(t, drain(t, q), numbered(0, 6))
		if s := q.Stats(); s.Damaged != 1 || s.Bytes != 0 {
			t.Errorf("%+v", s)
		}
		mustClose(t, q)
	}
}

// TestFault077Delivered has damage among entries that were delivered: the receiver loses nothing, but the owner may.
func TestFault077Delivered(t *testing.T) {
	for _, test := range []struct {
		name             string
		observed         bool
		damage           []string
		damaged          int64
		told, deliveries []string
	}{
		{"not observed", false, []string{"entry 2"}, 0, nil, numbered(4, 6)},
		{"observed", true, []string{"entry 2"}, 1, slices.Delete(numbered(0, 6), 2, 3), numbered(4, 6)},
		{"around the cursor", true, []string{"entry 3", "entry 4"}, 1, slices.Delete(numbered(0, 6), 3, 5), numbered(5, 6)},
		{"around the cursor, not observed", false, []string{"entry 3", "entry 4"}, 1, nil, numbered(5, 6)},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			q := mustOpen(t, dir, Options{files: quick{}})
			mustAppend(t, q, numbered(0, 6)...)
			deliverSome(t, q, 4)
			mustClose(t, q)
			segment := names(t, dir, "*.log")[0]
			content := readFile(t, segment)
			for _, entry := range test.damage {
				content = bytes.Replace(content, []byte(entry), []byte("damaged"), 1)
			}
			writeFile(t, segment, content)
			var o told
			options := Options{files: quick{}}
			if test.observed {
				options.Observe = o.observe
			}
			q = mustOpen(t, dir, options)
			checkEntries(t, o.lines, test.told)
			checkEntries(t, drain(t, q), test.deliveries)
			if s := q.Stats(); s.Damaged != test.damaged || s.Pending != 0 || s.Bytes != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
