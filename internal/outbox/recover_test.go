package outbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cdr.dev/slog/v3"
)

// quick is a disk that never syncs, for tests that open many queues.
type quick struct{ disk }

func (q quick) Open(path string, flags int) (file, error) {
	opened, err := q.disk.Open(path, flags)
	return quickFile{opened}, err
}

func (quick) SyncDir(string) error { return nil }

type quickFile struct{ file }

func (quickFile) Sync() error { return nil }

// layout is a directory that a queue left, in memory.
type layout struct {
	cursor   []byte
	segments []string // Names.
	content  map[string][]byte
	// inventory is nil as an older program leaves it: what is synced is not known, and the end of a segment may be torn.
	inventory []byte
	observe   func(Kind, []byte) // Is told when it is opened, if not nil.
}

// readLayout returns the layout of a directory that nobody has open.
func readLayout(t testing.TB, dir string) layout {
	t.Helper()
	l := layout{cursor: withoutSeals(readFile(t, filepath.Join(dir, "cursor"))), content: map[string][]byte{}}
	for _, path := range names(t, dir, "*.log") {
		l.segments = append(l.segments, filepath.Base(path))
		l.content[filepath.Base(path)] = readFile(t, path)
	}
	return l
}

// written returns what a queue leaves that was given entries.
func written(t testing.TB, segmentBytes int64, entries ...string) layout {
	t.Helper()
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{files: quick{}, SegmentBytes: segmentBytes, ReserveBytes: 1})
	mustAppend(t, q, entries...)
	mustClose(t, q)
	return readLayout(t, dir)
}

// open writes the layout to a directory and opens it, with one segment changed. It returns what is delivered.
func (l layout) open(t testing.TB, dir string, changed string, content []byte) ([]string, Stats) {
	t.Helper()
	for _, path := range slices.Concat(names(t, dir, "*.log"), names(t, dir, "*/*"), names(t, dir, "segments")) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "cursor"), l.cursor)
	if l.inventory != nil {
		writeFile(t, filepath.Join(dir, "segments"), l.inventory)
	}
	for name, original := range l.content {
		writeFile(t, filepath.Join(dir, name), original)
	}
	if content != nil {
		writeFile(t, filepath.Join(dir, changed), content)
	}
	q, err := Open(dir, Options{files: quick{}, ReserveBytes: 1, Observe: l.observe})
	if err != nil {
		t.Fatalf("the start failed: %v", err)
	}
	got, stats := drain(t, q), q.Stats()
	mustAppend(t, q, "new")
	checkEntries(t, drain(t, q), []string{"new"})
	mustClose(t, q)
	return got, stats
}

func TestFault077TornTail(t *testing.T) {
	want := numbered(0, 6)
	l, dir := written(t, 80, want...), t.TempDir()
	last := l.segments[len(l.segments)-1]
	content := l.content[last]
	whole := len(content) - frameOverhead - len(want[5])
	for size := range len(content) {
		expected := want[:5]
		if size < whole {
			expected = want[:4] // Segments of two.
		}
		got, stats := l.open(t, dir, last, content[:size])
		checkEntries(t, got, expected)
		if stats.Damaged != 0 || len(names(t, dir, "damaged/*")) != 0 {
			t.Errorf("%d of %d bytes: a torn tail is no damage: %+v", size, len(content), stats)
		}
		// A machine that stopped may have made the file longer before it had what to put there.
		got, _ = l.open(t, dir, last, slices.Concat(content[:size], make([]byte, len(content)-size)))
		checkEntries(t, got, expected)
	}
	// It is cut off, so it is still ignored when other segments have followed.
	torn := t.TempDir()
	for name, original := range l.content {
		writeFile(t, filepath.Join(torn, name), original)
	}
	writeFile(t, filepath.Join(torn, "cursor"), l.cursor)
	writeFile(t, filepath.Join(torn, last), content[:len(content)-3])
	for range 3 {
		q := mustOpen(t, torn, Options{files: quick{}})
		if s := q.Stats(); s.Pending != 5 || s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
		mustClose(t, q)
	}
	// In a segment before the last, nothing can be torn.
	got, stats := l.open(t, dir, l.segments[0], l.content[l.segments[0]][:60])
	checkEntries(t, got, slices.Delete(slices.Clone(want), 1, 2))
	if stats.Damaged != 1 {
		t.Errorf("%+v", stats)
	}
}

func TestFault077BitFlips(t *testing.T) {
	want := numbered(0, 6)
	l, dir := written(t, 80, want...), t.TempDir()
	for n, name := range l.segments {
		for at := range l.content[name] {
			for _, flip := range []byte{1 << (at % 8), 0xff} {
				content := bytes.Clone(l.content[name])
				content[at] ^= flip
				got, stats := l.open(t, dir, name, content)
				expected := slices.Clone(want)
				if at >= segmentHeaderBytes {
					lost := 2*n + (at-segmentHeaderBytes)/(frameOverhead+len(want[0]))
					expected = slices.Delete(expected, lost, lost+1)
				}
				checkEntries(t, got, expected)
				if stats.Damaged != 1 || stats.Pending != 0 || stats.Bytes != 0 || len(names(t, dir, "damaged/*.bin")) != 1 {
					t.Fatalf("byte %d of segment %d: %+v, set aside %q", at, n, stats, names(t, dir, "damaged/*"))
				}
			}
		}
	}
}

// TestFault077BadPages has damage in large segments, at the borders of what is read at a time, too.
func TestFault077BadPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(77, 1))
	var want []string
	for n := range 60 {
		entry := bytes.Repeat([]byte{byte(n + 1)}, rng.IntN(3*pageBytes))
		if n == 30 {
			entry = bytes.Repeat([]byte("large"), scanBytes/4)
		}
		want = append(want, string(entry))
	}
	l, dir := written(t, 0, want...), t.TempDir()
	name := l.segments[0]
	for page := 0; page < len(l.content[name]); page += 5 * pageBytes {
		for _, damage := range []string{"zeros", "noise"} {
			content := bytes.Clone(l.content[name])
			bad := content[page:min(len(content), page+pageBytes)]
			clear(bad)
			if damage == "noise" {
				for i := range bad {
					bad[i] = byte(rng.Uint32())
				}
			}
			var expected []string
			offset := segmentHeaderBytes
			for _, entry := range want {
				end := offset + frameOverhead + len(entry)
				if end <= page || offset >= page+pageBytes {
					expected = append(expected, entry)
				}
				offset = end
			}
			got, stats := l.open(t, dir, name, content)
			if len(got) != len(expected) || !slices.Equal(got, expected) {
				t.Fatalf("%s at %d: %d entries, want %d", damage, page, len(got), len(expected))
			}
			if stats.Damaged == 0 {
				t.Errorf("%s at %d: %+v", damage, page, stats)
			}
		}
	}
}

// headsAmong returns a segment with a head before and behind each entry.
func headsAmong(salt uint32, entries ...string) []byte {
	content := appendFrame(segmentHeader(formatVersion), salt, Head, 0, []byte("head"))
	for _, entry := range entries {
		content = appendFrame(content, salt, Entry, 0, []byte(entry))
		content = appendFrame(content, salt, Head, 0, []byte("head"))
	}
	return content
}

func TestFault077OddSegments(t *testing.T) {
	want := numbered(0, 6)
	l, dir := written(t, 80, want...), t.TempDir()
	later := "000000000004-0000002a.log"
	header := segmentHeader(formatVersion)
	for _, test := range []struct {
		name, segment string
		content       []byte
		want          []string
		damaged       int64
	}{
		{"last empty", later, []byte{}, want, 0},
		{"last with a header only", later, header, want, 0},
		{"last with half a header", later, header[:7], want, 0},
		{"last of zeros", later, make([]byte, 3*scanBytes), want, 0},
		{"last of noise", later, bytes.Repeat([]byte("noise"), 1000), want, 2},
		{"empty in the middle", l.segments[1], []byte{}, slices.Delete(slices.Clone(want), 2, 4), 0},
		{"header only in the middle", l.segments[1], header, slices.Delete(slices.Clone(want), 2, 4), 0},
		{"zeros in the middle", l.segments[1], make([]byte, scanBytes), slices.Delete(slices.Clone(want), 2, 4), 2},
		{"zeros at the beginning", l.segments[0], make([]byte, 100), want[2:], 2},
		{"heads among entries", later, headsAmong(parseSegmentName(later).salt, "a", "b"), append(slices.Clone(want), "a", "b"), 0},
		{"no segment", "000000000001.log", []byte("someone's"), want, 0},
		{"no salt", "000000000001-00000000.log", []byte("someone's"), want, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, stats := l.open(t, dir, test.segment, test.content)
			checkEntries(t, got, test.want)
			if stats.Damaged != test.damaged {
				t.Errorf("%+v, want %d damaged", stats, test.damaged)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		for n, name := range l.segments {
			without := layout{cursor: l.cursor, content: map[string][]byte{}}
			for other, content := range l.content {
				if other != name {
					without.content[other] = content
				}
			}
			got, stats := without.open(t, dir, "", nil)
			checkEntries(t, got, slices.Delete(slices.Clone(want), 2*n, 2*n+2))
			last := n == len(l.segments)-1
			if last != (stats.Damaged == 0) {
				t.Errorf("without %s: %+v", name, stats)
			}
		}
	})
}

// TestFault077Removed has a segment that goes, or is cut short, while the queue is open.
func TestFault077Removed(t *testing.T) {
	for _, cut := range []bool{false, true} {
		dir := t.TempDir()
		q := mustOpen(t, dir, Options{files: quick{}, SegmentBytes: 80})
		q.recent.limit = 1
		mustAppend(t, q, numbered(0, 8)...)
		segment := names(t, dir, "*.log")[1]
		if cut {
			writeFile(t, segment, readFile(t, segment)[:50])
		} else if err := os.Remove(segment); err != nil {
			t.Fatal(err)
		}
		expected := slices.Delete(numbered(0, 8), 2, 4)
		if cut {
			expected = slices.Delete(numbered(0, 8), 3, 4)
		}
		checkEntries(t, drain(t, q), expected)
		if s := q.Stats(); s.Damaged != 1 || s.Pending != 0 || s.Bytes != 0 {
			t.Errorf("%+v", s)
		}
		mustClose(t, q)
	}
}

// half returns what a queue leaves that was given eight entries, of which two batches of two were delivered.
func half(t *testing.T) layout {
	t.Helper()
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{files: quick{}})
	mustAppend(t, q, numbered(0, 8)...)
	calls, third := 0, make(chan struct{})
	stop := deliver(t, q, DeliverOptions{BatchEntries: 2}, func(ctx context.Context, _ [][]byte) ([]Failure, error) {
		if calls++; calls <= 2 {
			return nil, nil
		}
		close(third)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	<-third
	stop()
	mustClose(t, q)
	return readLayout(t, dir)
}

// TestFault077Cursor checks that one batch is delivered again if one slot is spoilt, and all of them if both are.
func TestFault077Cursor(t *testing.T) {
	l, dir := half(t), t.TempDir()
	for slot := range cursorSlots {
		for at := range cursorBytes {
			spoilt := l
			spoilt.cursor = bytes.Clone(l.cursor)
			spoilt.cursor[slot*cursorSlotBytes+at] ^= 0xff
			got, stats := spoilt.open(t, dir, "", nil)
			checkEntries(t, got, numbered(8-len(got), 8))
			if len(got) > 6 || stats.Damaged != 0 {
				t.Errorf("slot %d: %d entries, %+v", slot, len(got), stats)
			}
		}
	}
	both := bytes.Clone(l.cursor)
	both[0]++
	both[cursorSlotBytes]++
	for _, cursor := range [][]byte{nil, []byte("short"), make([]byte, len(l.cursor)), both} {
		lost := l
		lost.cursor = cursor
		got, stats := lost.open(t, dir, "", nil)
		checkEntries(t, got, numbered(0, 8))
		if stats.Damaged != 1 {
			t.Errorf("cursor of %d bytes: %+v", len(cursor), stats)
		}
	}
}

// TestFault077CursorElsewhere has a cursor that is ahead of all segments that are left.
func TestFault077CursorElsewhere(t *testing.T) {
	l, dir := half(t), t.TempDir()
	for _, at := range []mark{{segment: 1, offset: 1 << 40}, {segment: 2}, {segment: 1 << 60}} {
		slot := binary.LittleEndian.AppendUint64(nil, 7)
		slot = binary.LittleEndian.AppendUint64(slot, at.segment)
		slot = binary.LittleEndian.AppendUint64(slot, uint64(at.offset))
		slot = binary.LittleEndian.AppendUint32(slot, checksum(slot))
		l.cursor = append(slot, make([]byte, cursorSlotBytes)...)
		got, stats := l.open(t, dir, "", nil)
		if len(got) != 0 || stats.Damaged != 0 {
			t.Errorf("%+v: %q, %+v", at, got, stats)
		}
		for _, path := range names(t, dir, "*.log") {
			if s := parseSegmentName(filepath.Base(path)); s.number <= at.segment {
				t.Errorf("%+v: segment %d after it", at, s.number)
			}
		}
	}
}

// TestFault077Forged has a client whose prompt holds what looks like a frame, in a record that is damaged.
func TestFault077Forged(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{files: quick{}})
	forged := []byte("prompt: ")
	for _, salt := range []uint32{0, 1, q.active.salt + 1} {
		forged = appendFrame(forged, salt, Entry, 0, []byte("forged"))
	}
	mustAppend(t, q, "before", string(forged), "after")
	mustClose(t, q)
	segment := names(t, dir, "*.log")[0]
	content := bytes.Replace(readFile(t, segment), []byte("prompt"), []byte("?romp?"), 1)
	writeFile(t, segment, content)
	checkEntries(t, drain(t, mustOpen(t, dir, Options{})), []string{"before", "after"})
}

// TestFault077OneLine checks that damage is logged in one line, with its place and size.
func TestFault077OneLine(t *testing.T) {
	l, dir, log := written(t, 0, "one", "two", "three"), t.TempDir(), &logLines{}
	content := bytes.Replace(l.content[l.segments[0]], []byte("two"), []byte("t?o"), 1)
	writeFile(t, filepath.Join(dir, "cursor"), l.cursor)
	writeFile(t, filepath.Join(dir, l.segments[0]), content)
	checkEntries(t, drain(t, mustOpen(t, dir, Options{Logger: slog.Make(log)})), []string{"one", "three"})
	if log.count("damaged") != 1 || log.count(fmt.Sprint("bytes ", frameOverhead+3)) != 1 || log.count(l.segments[0]) != 1 {
		t.Errorf("%q", log.lines)
	}
	aside := names(t, dir, "damaged/*.bin")
	if len(aside) != 1 || !bytes.Contains(readFile(t, aside[0]), []byte("t?o")) {
		t.Errorf("set aside: %q", aside)
	}
}

func TestFault085ClockBetweenLives(t *testing.T) {
	for _, test := range []struct{ shift, least, most time.Duration }{
		{time.Hour, 0, 0},
		{-24 * time.Hour, 24 * time.Hour, 25 * time.Hour},
	} {
		dir := t.TempDir()
		s := &segment{number: 1, salt: 42}
		at := time.Now().Add(test.shift).UnixNano()
		writeFile(t, filepath.Join(dir, s.fileName()), appendFrame(segmentHeader(formatVersion), s.salt, Entry, at, []byte("entry")))
		q := mustOpen(t, dir, Options{})
		if s := q.Stats(); s.Pending != 1 || s.Age < test.least || s.Age > test.most {
			t.Errorf("appended when the clock showed %v: %+v", test.shift, s)
		}
		checkEntries(t, drain(t, q), []string{"entry"})
	}
}

// TestFault119NewerVersion has a segment that a newer program wrote.
func TestFault119NewerVersion(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{SegmentBytes: 80})
	mustAppend(t, q, numbered(0, 6)...)
	mustClose(t, q)
	for _, segment := range names(t, dir, "*.log") {
		content := readFile(t, segment)
		newer := slices.Concat(segmentHeader(formatVersion+1), content[segmentHeaderBytes:])
		writeFile(t, segment, newer)
		before := names(t, dir, "*")
		_, err := Open(dir, Options{})
		if err == nil || !strings.Contains(err.Error(), "format 2") || !strings.Contains(err.Error(), filepath.Base(segment)) {
			t.Fatalf("got %v", err)
		}
		if !bytes.Equal(readFile(t, segment), newer) || !slices.Equal(names(t, dir, "*"), before) {
			t.Error("the directory was changed")
		}
		writeFile(t, segment, content)
	}
	checkEntries(t, drain(t, mustOpen(t, dir, Options{})), numbered(0, 6))
}

// TestManyLives has queues that end with a backlog, over and over: the order is kept, and what is delivered is removed.
func TestManyLives(t *testing.T) {
	dir := t.TempDir()
	delivered := 0
	for life := range 20 {
		q := mustOpen(t, dir, Options{files: quick{}, SegmentBytes: 200})
		mustAppend(t, q, numbered(10*life, 10*life+10)...)
		if s := q.Stats(); s.Pending != 10*life+10-delivered {
			t.Fatalf("life %d: %+v", life, s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := q.Deliver(ctx, DeliverOptions{BatchEntries: 7}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
			for _, entry := range entries {
				if want := fmt.Sprintf("entry %d", delivered); string(entry) != want {
					t.Errorf("got %q, want %q", entry, want)
				}
				delivered++
			}
			cancel()
			return nil, nil
		})
		if !errors.Is(err, ctx.Err()) {
			t.Fatal(err)
		}
		mustClose(t, q)
	}
	q := mustOpen(t, dir, Options{})
	checkEntries(t, drain(t, q), numbered(delivered, 200))
	mustClose(t, q)
	mustOpen(t, dir, Options{})
	if n := len(names(t, dir, "*.log")); n != 1 {
		t.Errorf("%d segments of an empty queue", n)
	}
}
