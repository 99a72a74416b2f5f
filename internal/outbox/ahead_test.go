package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
)

// zerosBehind returns how many zeros a segment ends with.
func zerosBehind(t *testing.T, path string) int {
	t.Helper()
	content := readFile(t, path)
	return len(content) - len(bytes.TrimRight(content, "\x00"))
}

// TestAhead checks where zeros are: behind the frames of the segment that is written to, in Sync, and nowhere else.
func TestAhead(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "kernel": Kernel} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			q := mustOpen(t, dir, Options{Durability: durability, SegmentBytes: 2*aheadBytes + 10<<10})
			entry := strings.Repeat("x", 100<<10)
			want := map[Durability][]int{
				// In steps, and no further than the segment goes.
				Sync:   {aheadBytes, aheadBytes, 2 * aheadBytes, 2 * aheadBytes, 2 * aheadBytes},
				Kernel: {100<<10 + 36, 200<<10 + 56, 300<<10 + 76, 400<<10 + 96, 500<<10 + 116},
			}[durability]
			for n, size := range want {
				mustAppend(t, q, entry)
				if got := len(readFile(t, names(t, dir, "*.log")[0])); got != size {
					t.Errorf("the segment has %d bytes with %d entries, want %d", got, n+1, size)
				}
			}
			mustAppend(t, q, "more", entry)
			segments := names(t, dir, "*.log")
			if n := zerosBehind(t, segments[0]); n != 0 || len(segments) != 2 {
				t.Errorf("%d zeros in a segment that was left, of %d", n, len(segments))
			}
			mustClose(t, q)
			if n := zerosBehind(t, segments[1]); n != 0 {
				t.Errorf("%d zeros in a segment that was closed", n)
			}
			q = mustOpen(t, dir, Options{})
			checkEntries(t, drain(t, q), slices.Concat(slices.Repeat([]string{entry}, 5), []string{"more", entry}))
			if s := q.Stats(); s.Damaged != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestAheadSmall checks that zeros go no further than their segment.
func TestAheadSmall(t *testing.T) {
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{SegmentBytes: 300})
	mustAppend(t, q, "entry")
	if n := len(readFile(t, names(t, dir, "*.log")[0])); n != segmentHeaderBytes+300 {
		t.Errorf("%d bytes", n)
	}
	mustAppend(t, q, strings.Repeat("x", 1000)) // A segment of its own, which is larger than others.
	if n := len(readFile(t, names(t, dir, "*.log")[1])); n != segmentHeaderBytes+frameOverhead+1000 {
		t.Errorf("%d bytes", n)
	}
}

// TestFault078Ahead has a disk without room for zeros, or one that fails to write them: nothing is left of them, and
// what is appended finds the room that there is.
func TestFault078Ahead(t *testing.T) {
	for name, fault := range map[string]func(*faultyFiles){
		"full": func(files *faultyFiles) { files.setRoom(100 << 10) },
		"fails": func(files *faultyFiles) {
			zeros := true // What is written first.
			files.set(func(call, path string) error {
				if call == "write" && strings.HasSuffix(path, ".log") && zeros {
					zeros = false
					return syscall.EIO
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			files, dir := newFaultyFiles(), t.TempDir()
			q := mustOpen(t, dir, Options{files: files, ReserveBytes: 128 << 10})
			fault(files)
			entry := strings.Repeat("x", 30<<10)
			mustAppend(t, q, entry)
			if got, want := len(readFile(t, names(t, dir, "*.log")[0])), segmentHeaderBytes+frameOverhead+len(entry); got != want {
				t.Errorf("the segment has %d bytes, want %d", got, want)
			}
			files.set(nil)
			mustAppend(t, q, entry, entry)
			if name == "full" {
				if _, err := q.Append([]byte(entry)); !errors.Is(err, ErrFull) {
					t.Errorf("got %v, want ErrFull", err)
				}
			}
			checkEntries(t, drain(t, q), slices.Repeat([]string{entry}, 3))
			mustClose(t, q)
		})
	}
}

// TestFault083DeadInsteadOfAhead has a disk with room for a dead entry only in what is written ahead.
func TestFault083DeadInsteadOfAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files, dir := newFaultyFiles(), t.TempDir()
		q := mustOpen(t, dir, Options{files: files})
		mustAppend(t, q, "poison")
		files.setRoom(0)
		stop := deliver(t, q, DeliverOptions{}, refuseAll)
		flush(t, q)
		stop()
		if n, s := reserveSize(t, dir), q.Stats(); n != defaultReserveBytes || s.Dead != 1 || len(names(t, dir, "dead/*.rec")) != 1 {
			t.Errorf("%d bytes in reserve, %+v", n, s)
		}
		mustAppend(t, q, "after")
		mustClose(t, q)
	})
}

// withZeros returns a layout whose last segment ends as that of a process that was killed: with zeros.
func withZeros(l layout) (longer layout, last string) {
	last = l.segments[len(l.segments)-1]
	longer = l
	longer.content = map[string][]byte{}
	for name, content := range l.content {
		longer.content[name] = content
	}
	longer.content[last] = slices.Concat(l.content[last], make([]byte, 3*pageBytes))
	return longer, last
}

// TestFault077TornAhead ends the process in the middle of a write, or the machine before it has reached the disk: what
// is left of the last entry, sector by sector, is ignored.
func TestFault077TornAhead(t *testing.T) {
	want := numbered(0, 3)
	long := strings.Repeat("entry 3 ", 200)
	for shift := 0; shift < sectorBytes; shift += 5 { // The last frame begins anywhere in a sector.
		shifted := append(slices.Clone(want), strings.Repeat("s", shift))
		l, last := withZeros(written(t, 0, append(shifted, long)...))
		dir := t.TempDir()
		content := l.content[last]
		end := len(bytes.TrimRight(content, "\x00"))
		begin := end - frameOverhead - len(long)
		for cut := (begin + sectorBytes) / sectorBytes * sectorBytes; cut < end; cut += sectorBytes {
			torn := slices.Concat(content[:cut], make([]byte, len(content)-cut))
			got, stats := l.open(t, dir, last, torn)
			checkEntries(t, got, shifted)
			if stats.Damaged != 0 || len(names(t, dir, "damaged/*")) != 0 {
				t.Fatalf("cut at %d, the frame at %d: %+v", cut, begin, stats)
			}
		}
		// Zeros that begin within the last sector are no remains of a write: the frame was whole.
		cut := end - 1 - shift%9
		if cut <= (end-1)/sectorBytes*sectorBytes {
			continue
		}
		got, stats := l.open(t, dir, last, slices.Concat(content[:cut], make([]byte, len(content)-cut)))
		checkEntries(t, got, shifted)
		if stats.Damaged != 1 || len(names(t, dir, "damaged/*.bin")) != 1 {
			t.Fatalf("zeros from %d on, the frame at %d to %d: %+v", cut, begin, end, stats)
		}
	}
}

// TestFault077DamageBeforeZeros has damage in a segment that ends in zeros: it costs the entry that it hit, and is
// counted, even if that entry is the last one.
func TestFault077DamageBeforeZeros(t *testing.T) {
	want := numbered(0, 6)
	l, last := withZeros(written(t, 0, want...))
	dir := t.TempDir()
	frame := frameOverhead + len(want[0])
	for at := segmentHeaderBytes; at < segmentHeaderBytes+6*frame; at += 3 {
		content := bytes.Clone(l.content[last])
		content[at] ^= 0xff
		lost := (at - segmentHeaderBytes) / frame
		got, stats := l.open(t, dir, last, content)
		checkEntries(t, got, slices.Delete(slices.Clone(want), lost, lost+1))
		if stats.Damaged != 1 || stats.Bytes != 0 {
			t.Fatalf("byte %d: %+v", at, stats)
		}
		for _, path := range names(t, dir, "damaged/*.bin") {
			if n := len(readFile(t, path)); n > frame {
				t.Fatalf("byte %d: %d bytes were set aside: zeros hold nothing", at, n)
			}
		}
	}
}

// TestFault077HoleOfZeros has a page of zeros among entries, and zeros at the end: the entries behind it are delivered.
func TestFault077HoleOfZeros(t *testing.T) {
	var want []string
	for n := range 20 {
		want = append(want, strings.Repeat(fmt.Sprint(n%10), 1000))
	}
	l, last := withZeros(written(t, 0, want...))
	dir := t.TempDir()
	frame := frameOverhead + 1000
	for page := pageBytes; page+pageBytes < segmentHeaderBytes+20*frame; page += pageBytes {
		content := bytes.Clone(l.content[last])
		clear(content[page : page+pageBytes])
		first, end := (page-segmentHeaderBytes)/frame, (page+pageBytes-segmentHeaderBytes-1)/frame+1
		expected := slices.Delete(slices.Clone(want), first, min(end, 20))
		got, stats := l.open(t, dir, last, content)
		checkEntries(t, got, expected)
		if damaged := stats.Damaged; damaged != 1 {
			t.Errorf("page at %d: %+v", page, stats)
		}
	}
}

// TestFault077ZerosNotLast has zeros at the end of a segment before the last, where a queue leaves none: that is
// damage.
func TestFault077ZerosNotLast(t *testing.T) {
	l, dir := written(t, 80, numbered(0, 6)...), t.TempDir()
	name := l.segments[0]
	got, stats := l.open(t, dir, name, slices.Concat(l.content[name], make([]byte, pageBytes)))
	checkEntries(t, got, numbered(0, 6))
	if stats.Damaged != 1 {
		t.Errorf("%+v", stats)
	}
}

// TestZerosStaySilent has a process that is killed, and starts that follow: the zeros are cut off once and for all.
func TestZerosStaySilent(t *testing.T) {
	l, last := withZeros(written(t, 0, numbered(0, 3)...))
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "cursor"), l.cursor)
	writeFile(t, filepath.Join(dir, last), l.content[last])
	files := newVolatileFiles()
	for range 3 {
		q := mustOpen(t, dir, Options{files: files})
		if s := q.Stats(); s.Pending != 3 || s.Damaged != 0 {
			t.Errorf("%+v", s)
		}
		path := filepath.Join(dir, last)
		if n := zerosBehind(t, path); n != 0 || !bytes.Equal(files.synced[path], readFile(t, path)) {
			t.Errorf("%d zeros are left, or a machine that stops may bring them back", n)
		}
		mustClose(t, q)
	}
}

// TestFault119Grown opens what a program left that did not write zeros ahead: two segments, of which one entry was
// delivered and one is dead. The last segment may be torn.
func TestFault119Grown(t *testing.T) {
	for _, torn := range []int{0, 1, 10} {
		t.Run(fmt.Sprint("torn by ", torn), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "outbox")
			if err := os.CopyFS(dir, os.DirFS("testdata/grown")); err != nil {
				t.Fatal(err)
			}
			segments := names(t, dir, "*.log")
			last := readFile(t, segments[1])
			writeFile(t, segments[1], last[:len(last)-torn])
			var o told
			q := mustOpen(t, dir, Options{Observe: o.observe})
			want := []string{"three", "four", "five", "six"}
			if torn > 0 {
				want = want[:3]
			}
			all := slices.Concat([]string{"head 1", "delivered", "dead", "three", "head 2"}, want[1:])
			checkEntries(t, o.lines, all)
			if _, err := q.Resend(); err != nil {
				t.Fatal(err)
			}
			q.lookAround(t.Context())
			mustAppend(t, q, "new")
			checkEntries(t, drain(t, q), append(want, "dead", "new"))
			if s := q.Stats(); s.Damaged != 0 || s.Dead != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}
