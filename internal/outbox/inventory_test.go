package outbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// copyNow returns a copy of a directory as it is now, which is what a process that is killed leaves.
func copyNow(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// backlog returns a directory with six entries in three segments, none of them delivered: as a process leaves it that
// closes its queue, and one that is killed a moment later than that.
func backlog(t *testing.T, durability Durability) (closed, killed string) {
	t.Helper()
	outside := t // Its directories outlive the bubble.
	closed = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		q := mustOpen(t, closed, Options{Durability: durability, files: quick{}, SegmentBytes: 80, ReserveBytes: 1})
		mustAppend(t, q, numbered(0, 6)...)
		time.Sleep(2*stockDelay + kernelInterval)
		synctest.Wait()
		killed = copyNow(outside, closed)
		mustClose(t, q)
	})
	return copyNow(t, closed), killed
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFault077SegmentKnown has a segment, the first, the last or one between, that somebody emptied, cut, removed,
// renamed or replaced: it is counted and named, and the others are delivered. The next start finds no damage any more.
func TestFault077SegmentKnown(t *testing.T) {
	entry := frameOverhead + len("entry 0")
	for _, test := range []struct {
		name string
		do   func(path string) error
		lost int // Entries of the two.
	}{
		{"emptied", func(path string) error { return os.Truncate(path, 0) }, 2},
		{"cut within its header", func(path string) error { return os.Truncate(path, 9) }, 2},
		{"cut behind its header", func(path string) error { return os.Truncate(path, segmentHeaderBytes) }, 2},
		{"cut between entries", func(path string) error { return os.Truncate(path, int64(segmentHeaderBytes+entry)) }, 1},
		{"cut within an entry", func(path string) error { return os.Truncate(path, int64(segmentHeaderBytes+entry+13)) }, 1},
		{"zeros", func(path string) error { return os.WriteFile(path, make([]byte, 200), 0o600) }, 2},
		{"an entry of zeros", func(path string) error {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			clear(content[segmentHeaderBytes+entry:])
			return os.WriteFile(path, content, 0o600)
		}, 1},
		{"removed", os.Remove, 2},
		{"renamed", func(path string) error { return os.Rename(path, path+".bak") }, 2},
		{"hidden", func(path string) error {
			return os.Rename(path, filepath.Join(filepath.Dir(path), "."+filepath.Base(path)))
		}, 2},
		{"moved away", func(path string) error {
			return os.Rename(path, filepath.Join(filepath.Dir(path), "dead", filepath.Base(path)))
		}, 2},
		{"a directory", func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.MkdirAll(filepath.Join(path, "within"), 0o700)
		}, 2},
	} {
		for _, durability := range []Durability{Sync, Kernel} {
			for n := range 3 {
				t.Run(fmt.Sprint(test.name, " ", n, " ", durability), func(t *testing.T) {
					closed, killed := backlog(t, durability)
					for _, dir := range []string{closed, killed} {
						segment := names(t, dir, "*.log")[n]
						must(t, test.do(segment))
						log := &logLines{}
						options := Options{files: quick{}, ReserveBytes: 1, Logger: slog.Make(log)}
						q := mustOpen(t, dir, options)
						if s := q.Stats(); s.Damaged == 0 || log.count(filepath.Base(segment)) == 0 {
							t.Errorf("%+v, logged %q", s, log.lines)
						}
						mustClose(t, q)
						q = mustOpen(t, dir, options)
						if s := q.Stats(); s.Damaged != 0 || s.Pending != 6-test.lost {
							t.Errorf("at the next start: %+v", s)
						}
						checkEntries(t, drain(t, q), slices.Delete(numbered(0, 6), 2*n+2-test.lost, 2*n+2))
						mustClose(t, q)
					}
				})
			}
		}
	}
}

// TestFault077SegmentsGone has several files that are gone: each segment is counted and named.
func TestFault077SegmentsGone(t *testing.T) {
	for _, test := range []struct {
		name    string
		remove  []string // Patterns; a number stands for a segment.
		damaged int64
		want    []string
	}{
		{"the last two", []string{"000000000002-*", "000000000003-*"}, 2, numbered(0, 2)},
		{"the first two", []string{"000000000001-*", "000000000002-*"}, 2, numbered(4, 6)},
		{"the first and the last", []string{"000000000001-*", "000000000003-*"}, 2, numbered(2, 4)},
		{"all", []string{"*.log"}, 3, nil},
		{"all and the cursor", []string{"*.log", "cursor"}, 3, nil},
		{"all but the cursor", []string{"*.log", "segments"}, 2, nil},
		{"all but the reserve", []string{"*.log", "segments", "cursor"}, 1, nil},
		{"one and the cursor", []string{"000000000002-*", "cursor"}, 2, slices.Delete(numbered(0, 6), 2, 4)},
		{"the last and the cursor", []string{"000000000003-*", "cursor"}, 2, numbered(0, 4)},
		{"the inventory", []string{"segments"}, 1, numbered(0, 6)},
		{"the inventory and the first", []string{"segments", "000000000001-*"}, 2, numbered(2, 6)},
		{"the inventory and one between", []string{"segments", "000000000002-*"}, 2, slices.Delete(numbered(0, 6), 2, 4)},
		{"the inventory and the last", []string{"segments", "000000000003-*"}, 1, numbered(0, 4)},
		{"the inventory, the cursor and one between", []string{"segments", "cursor", "000000000002-*"}, 2, slices.Delete(numbered(0, 6), 2, 4)},
	} {
		t.Run(test.name, func(t *testing.T) {
			closed, killed := backlog(t, Sync)
			for _, dir := range []string{closed, killed} {
				log := &logLines{}
				var gone []string
				for _, pattern := range test.remove {
					for _, path := range names(t, dir, pattern) {
						must(t, os.Remove(path))
						gone = append(gone, filepath.Base(path))
					}
				}
				q := mustOpen(t, dir, Options{files: quick{}, ReserveBytes: 1, Logger: slog.Make(log)})
				if s := q.Stats(); s.Damaged != test.damaged {
					t.Errorf("%+v, want %d damaged", s, test.damaged)
				}
				for _, name := range gone {
					if strings.HasSuffix(name, ".log") && !slices.Contains(test.remove, "segments") && log.count(name) != 1 {
						t.Errorf("%s is not named: %q", name, log.lines)
					}
				}
				if test.damaged > 0 && len(log.lines) == 0 {
					t.Error("nothing is logged")
				}
				checkEntries(t, drain(t, q), test.want)
				mustAppend(t, q, "new")
				checkEntries(t, drain(t, q), []string{"new"})
				mustClose(t, q)
			}
		})
	}
}

// TestInventoryNoFalseDamage ends the process at random moments of a life in which segments are delivered and removed,
// and in the lives that follow: no start takes anything for damage.
func TestInventoryNoFalseDamage(t *testing.T) {
	for _, durability := range []Durability{Sync, Kernel} {
		dir, next := t.TempDir(), 0
		for life := range 12 {
			killed := filepath.Join(t.TempDir(), "killed")
			synctest.Test(t, func(t *testing.T) {
				q := mustOpen(t, dir, Options{Durability: durability, files: quick{}, SegmentBytes: 120, ReserveBytes: 1})
				if s := q.Stats(); s.Damaged != 0 {
					t.Errorf("life %d: %+v", life, s)
				}
				r, stop := &receiver{}, func() {}
				if life%3 != 0 {
					stop = deliver(t, q, DeliverOptions{BatchEntries: 3}, r.send)
				}
				mustAppend(t, q, numbered(next, next+1+5*life)...)
				if life%3 == 2 {
					flush(t, q)
				}
				stop()
				synctest.Wait()
				must(t, os.CopyFS(killed, os.DirFS(dir)))
				mustClose(t, q)
			})
			next += 1 + 5*life
			if life%2 == 0 {
				dir = killed
			}
		}
	}
}

// makeOlder makes a directory as a program leaves it that kept no inventory.
func makeOlder(t *testing.T, dir string) {
	t.Helper()
	must(t, os.Remove(filepath.Join(dir, "segments")))
	path := filepath.Join(dir, "cursor")
	writeFile(t, path, withoutSeals(readFile(t, path)))
}

// withoutSeals returns a cursor as a program writes it that keeps no inventory.
func withoutSeals(cursor []byte) []byte {
	for slot := range slices.Chunk(cursor, cursorSlotBytes) {
		clear(slot[min(len(slot), cursorBytes):])
	}
	return cursor
}

// TestFault077InventoryEmptied empties the inventory, in a directory whose segments are all there or not: that counts,
// once, and the gaps count, too.
func TestFault077InventoryEmptied(t *testing.T) {
	for n, want := range map[int]int64{-1: 1, 0: 2, 1: 2, 2: 1} {
		closed, killed := backlog(t, Sync)
		for _, dir := range []string{closed, killed} {
			must(t, os.Truncate(filepath.Join(dir, "segments"), 0))
			if n >= 0 {
				must(t, os.Remove(names(t, dir, "*.log")[n]))
			}
			for life := range 2 {
				log := &logLines{}
				q := mustOpen(t, dir, Options{files: quick{}, ReserveBytes: 1, Logger: slog.Make(log)})
				if s := q.Stats(); life == 0 && (s.Damaged != want || log.count("inventory lost") != 1) || life == 1 && s.Damaged != 0 {
					t.Errorf("segment %d removed, life %d: %+v, want %d damaged: %q", n, life, s, want, log.lines)
				}
				mustClose(t, q)
			}
		}
	}
}

// TestFault077OlderGap has a backlog of a program that kept no inventory, in which segments are missing: gaps in the
// numbers are damage, from the cursor on.
func TestFault077OlderGap(t *testing.T) {
	for _, test := range []struct {
		remove  []int
		numbers []string
	}{
		{[]int{1}, []string{"000000000002"}},
		{[]int{0}, []string{"000000000001"}},
		{[]int{0, 1}, []string{"000000000001 to 000000000002"}},
	} {
		closed, killed := backlog(t, Sync)
		for _, dir := range []string{closed, killed} {
			makeOlder(t, dir)
			segments := names(t, dir, "*.log")
			for _, n := range test.remove {
				must(t, os.Remove(segments[n]))
			}
			log := &logLines{}
			q := mustOpen(t, dir, Options{files: quick{}, ReserveBytes: 1, Logger: slog.Make(log)})
			if s := q.Stats(); s.Damaged != int64(len(test.numbers)) {
				t.Errorf("without %v: %+v", test.remove, s)
			}
			for _, number := range test.numbers {
				if log.count(number) != 1 {
					t.Errorf("without %v: %q", test.remove, log.lines)
				}
			}
			mustClose(t, q)
			q = mustOpen(t, dir, Options{files: quick{}, ReserveBytes: 1})
			if s := q.Stats(); s.Damaged != 0 {
				t.Errorf("without %v, at the next start: %+v", test.remove, s)
			}
			mustClose(t, q)
		}
	}
}

// TestOlderAfterNewer has a program without an inventory write the cursor of one that kept one: there is nothing to miss.
func TestOlderAfterNewer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cursor")
	c, _, err := openCursor(quick{}, path)
	must(t, err)
	for range 2 {
		must(t, c.write(mark{7, 16}))
	}
	must(t, c.file.Close())
	for generation, want := range map[uint64]bool{2: true, 3: false} {
		content := readFile(t, path)
		if generation == 3 { // What the older program writes.
			slot := content[cursorSlotBytes:]
			binary.LittleEndian.PutUint64(slot, generation)
			binary.LittleEndian.PutUint32(slot[24:], checksum(slot[:24]))
		}
		writeFile(t, path+"-copy", content)
		c, state, err := openCursor(quick{}, path+"-copy")
		must(t, err)
		if !state.known || state.at.segment != 7 || state.inventoried != want || c.generation != generation {
			t.Errorf("%+v at generation %d, want %v", state, c.generation, want)
		}
		must(t, c.file.Close())
	}
}

// TestInventoryOfOlder opens what a program leaves that kept no inventory: nothing in it is damage, in this life or the
// next one.
func TestInventoryOfOlder(t *testing.T) {
	closed, killed := backlog(t, Sync)
	for _, dir := range []string{closed, killed} {
		makeOlder(t, dir)
		for range 2 {
			q := mustOpen(t, dir, Options{files: quick{}, ReserveBytes: 1})
			if s := q.Stats(); s.Damaged != 0 || s.Pending != 6 {
				t.Errorf("%+v", s)
			}
			mustClose(t, q)
		}
		q := mustOpen(t, dir, Options{files: quick{}, ReserveBytes: 1})
		checkEntries(t, drain(t, q), numbered(0, 6))
		mustClose(t, q)
	}
}

// TestInventorySpoilt has an inventory of which one slot is spoilt, or both: the entries are delivered. An older slot
// lists nothing that was removed since.
func TestInventorySpoilt(t *testing.T) {
	closed, _ := backlog(t, Sync)
	path := filepath.Join(closed, "segments")
	content := readFile(t, path)
	for _, test := range []struct {
		slots   []int
		damaged int64
	}{{[]int{0}, 0}, {[]int{1}, 0}, {[]int{0, 1}, 1}} {
		dir := copyNow(t, closed)
		spoilt := bytes.Clone(content)
		for _, slot := range test.slots {
			spoilt[slot*inventorySlotBytes+3] ^= 0xff
		}
		writeFile(t, filepath.Join(dir, "segments"), spoilt)
		q := mustOpen(t, dir, Options{files: quick{}, ReserveBytes: 1})
		if s := q.Stats(); s.Damaged != test.damaged {
			t.Errorf("slots %d spoilt: %+v", test.slots, s)
		}
		checkEntries(t, drain(t, q), numbered(0, 6))
		mustClose(t, q)
	}
}

// TestInventoryFails has a disk that does not take the inventory any more: entries are taken, delivered and removed all
// the same, and no later start takes that for damage.
func TestInventoryFails(t *testing.T) {
	for _, call := range []string{"write", "sync"} {
		dir, files := t.TempDir(), newFaultyFiles()
		q := mustOpen(t, dir, Options{files: files, SegmentBytes: 80})
		files.set(func(made, path string) error {
			if made == call && filepath.Base(path) == "segments" {
				return syscall.EIO
			}
			return nil
		})
		mustAppend(t, q, numbered(0, 8)...)
		checkEntries(t, drain(t, q), numbered(0, 8))
		mustAppend(t, q, "last")
		if n := len(names(t, dir, "*.log")); n > 2 {
			t.Errorf("%s fails: %d segments are left", call, n)
		}
		mustClose(t, q)
		q = mustOpen(t, dir, Options{})
		if s := q.Stats(); s.Damaged != 0 {
			t.Errorf("%s fails: %+v", call, s)
		}
		checkEntries(t, drain(t, q), []string{"last"})
		mustClose(t, q)
	}
}

// TestInventorySyncs checks that the inventory costs no sync while entries are appended.
func TestInventorySyncs(t *testing.T) {
	files, syncs := newFaultyFiles(), 0
	dir := t.TempDir()
	q := mustOpen(t, dir, Options{files: files, SegmentBytes: 200})
	files.set(func(call, path string) error {
		if call == "sync" && filepath.Base(path) == "segments" {
			syncs++
		}
		return nil
	})
	mustAppend(t, q, numbered(0, 50)...)
	if syncs != 0 {
		t.Errorf("%d syncs", syncs)
	}
}

// FuzzInventory checks that what is read from a slot is what was written to it, and nothing where it has changed.
func FuzzInventory(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint32(3), int64(4), uint16(5), byte(0))
	f.Add(uint64(1), uint64(2), uint32(3), int64(4), uint16(9), byte(6))
	f.Fuzz(func(t *testing.T, generation, number uint64, salt uint32, end int64, at uint16, flip byte) {
		dir := t.TempDir()
		i, _, _, err := openInventory(quick{}, filepath.Join(dir, "segments"))
		must(t, err)
		defer i.file.Close()
		i.generation = generation
		want := []listed{{number, salt, end}, {number + 1, salt, end}}
		must(t, i.write(want))
		slot := make([]byte, inventorySlotBytes)
		_, _ = i.file.ReadAt(slot, int64(i.generation%inventorySlots)*inventorySlotBytes)
		size := inventoryHead + len(want)*listedBytes + 4
		slot[int(at)%size] ^= flip
		got, list, ok := parseInventory(slot)
		if ok != (flip == 0) || ok && (got != generation+1 || !slices.Equal(list, want)) {
			t.Errorf("%d %v %v, want %d %v", got, list, ok, generation+1, want)
		}
	})
}
