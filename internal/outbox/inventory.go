package outbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"cdr.dev/slog/v3"
)

// inventory is the file that says which segments are on the disk and how far each of them had been synced when it was
// written. What it says is on the disk already, so a segment that it lists and that is missing, or shorter, is damaged.
// A machine that stops may lose the last inventory, never make it say more than there was: it lists nothing that was not
// synced, and a segment is removed only once an inventory without it has been synced. A segment that no inventory lists
// is none the worse for it. Where there is no inventory, though the cursor says that there was one, it counts as damaged
// itself.
//
// Like the cursor it has two slots that are written in turn, in place, since that needs no room on a full disk. It is
// synced at a start and before a segment is removed, and never when entries are.
type inventory struct {
	file file
	// fresh is set until something has been synced. An interrupted write of the first slot would look like damage.
	fresh bool

	mu         sync.Mutex // Held while it is written, so that a later state has a higher generation. Taken before the queue's mu.
	generation uint64
}

const (
	inventorySlots     = 2
	inventorySlotBytes = 16 << 10
	inventoryHead      = 8 + 4 // The generation, and how many segments follow. A CRC-32C is behind these.
	listedBytes        = 8 + 4 + 8
	mostListed         = (inventorySlotBytes - inventoryHead - 4) / listedBytes

	// mostNamed is how many missing segments a line of the log names.
	mostNamed = 16

	// stockDelay is how long the inventory may not know what has been synced to a segment that it lists.
	stockDelay = 100 * time.Millisecond
)

// listed is a segment in the inventory.
type listed struct {
	number uint64
	salt   uint32
	end    int64 // The offset in its file up to where it had been synced.
}

func (l listed) fileName() string { return (&segment{number: l.number, salt: l.salt}).fileName() }

// openInventory returns the inventory of a queue and what it lists. spoilt is true if there is something in the file,
// and neither slot can be read.
func openInventory(files fileSystem, path string) (i *inventory, list []listed, spoilt bool, err error) {
	opened, err := files.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, nil, false, err
	}
	i = &inventory{file: opened}
	buffer := make([]byte, inventorySlots*inventorySlotBytes)
	_, _ = opened.ReadAt(buffer, 0) // What cannot be read fails its checksum.
	for slot := range inventorySlots {
		generation, segments, ok := parseInventory(buffer[slot*inventorySlotBytes:][:inventorySlotBytes])
		if ok && generation > i.generation {
			i.generation, list = generation, segments
		}
	}
	i.fresh = i.generation == 0
	something := slices.ContainsFunc(buffer, func(b byte) bool { return b != 0 })
	return i, list, i.fresh && something, nil
}

// parseInventory returns what a slot lists, if it is whole.
func parseInventory(slot []byte) (generation uint64, list []listed, ok bool) {
	generation = binary.LittleEndian.Uint64(slot)
	count := binary.LittleEndian.Uint32(slot[8:])
	if count > mostListed {
		return 0, nil, false
	}
	end := inventoryHead + int(count)*listedBytes
	if binary.LittleEndian.Uint32(slot[end:]) != checksum(slot[:end]) {
		return 0, nil, false
	}
	for b := range slices.Chunk(slot[inventoryHead:end], listedBytes) {
		list = append(list, listed{
			number: binary.LittleEndian.Uint64(b), salt: binary.LittleEndian.Uint32(b[8:]), end: int64(binary.LittleEndian.Uint64(b[12:])),
		})
	}
	return generation, list, true
}

// write writes the next slot: whole pages, so that it takes the same room however many segments it lists. The caller
// has i.mu.
func (i *inventory) write(list []listed) error {
	generation := i.generation + 1
	size := inventoryHead + len(list)*listedBytes + 4
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, (size+pageBytes-1)/pageBytes*pageBytes), generation)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(list)))
	for _, l := range list {
		b = binary.LittleEndian.AppendUint64(b, l.number)
		b = binary.LittleEndian.AppendUint32(b, l.salt)
		b = binary.LittleEndian.AppendUint64(b, uint64(l.end))
	}
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	_, err := i.file.WriteAt(b[:cap(b)], int64(generation%inventorySlots)*inventorySlotBytes)
	if err == nil {
		i.generation = generation
	}
	return err
}

// takeStock writes the inventory of the segments as they are now.
func (q *Queue) takeStock() error {
	if q.inventory == nil {
		return nil
	}
	q.inventory.mu.Lock()
	defer q.inventory.mu.Unlock()
	return q.inventory.write(q.stock())
}

// takeLastingStock writes the inventory and syncs it. A segment that is in it no more may then be removed.
func (q *Queue) takeLastingStock() error {
	if q.inventory == nil {
		return nil
	}
	if err := q.takeStock(); err != nil {
		return err
	}
	return q.inventory.file.Sync()
}

// beginStock is takeLastingStock at a start. Into a file that is new it first writes a list that fits into a sector.
func (q *Queue) beginStock() error {
	if q.inventory.fresh {
		if err := q.inventory.write(nil); err != nil {
			return err
		}
		if err := q.inventory.file.Sync(); err != nil {
			return err
		}
		q.inventory.fresh = false
	}
	return q.takeLastingStock()
}

// noteStock is takeStock for callers that go on if it fails: then the inventory says less than there is.
func (q *Queue) noteStock() {
	if err := q.takeStock(); err != nil {
		q.complain("outbox inventory cannot be written: damage to its segments may go unnoticed", err)
	}
}

// stock returns what the inventory should list: the segments whose names and heads are durable, each with what has been
// synced of it. Those without entries need no mention, but the last one does.
func (q *Queue) stock() []listed {
	q.mu.Lock()
	defer q.mu.Unlock()
	var list []listed
	for n := len(q.segments) - 1; n >= 0 && len(list) < mostListed; n-- {
		s := q.segments[n]
		if s.lasting && (s.size > 0 || len(list) == 0) {
			list = append(list, listed{s.number, s.salt, s.offset(min(max(s.synced, s.base), s.end()))})
		}
	}
	slices.Reverse(list)
	return list
}

// compare tells segments up to where they are known to have been synced, and counts those that are missing. Missing
// segments whose entries have been delivered, up to a mark, cost nothing: a segment may be removed though the inventory
// could not be written.
func (q *Queue) compare(segments []*segment, list []listed, at mark) {
	var missing []listed
	for _, l := range list {
		n := slices.IndexFunc(segments, func(s *segment) bool { return s.number == l.number && s.salt == l.salt })
		switch {
		case n >= 0:
			segments[n].known = l.end
		case l.number >= at.segment:
			missing = append(missing, l)
		}
	}
	q.reportMissing(missing)
}

// reportMissing counts segments that are missing, and logs them in one line.
func (q *Queue) reportMissing(missing []listed) {
	if len(missing) == 0 {
		return
	}
	var names []string
	for _, l := range missing[:min(len(missing), mostNamed)] {
		names = append(names, l.fileName())
	}
	if len(missing) > mostNamed {
		names = append(names, "…")
	}
	q.mu.Lock()
	q.stats.Damaged += int64(len(missing))
	q.mu.Unlock()
	q.logger.Error(context.Background(), "outbox segments missing: the entries in them are lost, the rest is delivered",
		slog.F("dir", q.dir), slog.F("count", len(missing)), slog.F("segments", strings.Join(names, " ")))
}

// reportGaps counts the gaps in the numbers of the segments, from the cursor's on, and logs them in one line. It is for
// when no inventory tells which numbers there were: a number may have been given to a segment that was written again
// under another one, but that is rare.
func (q *Queue) reportGaps(segments []*segment, state cursorState) {
	if len(segments) == 0 {
		return // See checkEmpty.
	}
	next := segments[0].number
	if state.known && state.at.segment > 0 {
		next = state.at.segment
	}
	var gaps []string
	for _, s := range segments {
		switch {
		case s.number < next:
			continue
		case s.number == next+1:
			gaps = append(gaps, fmt.Sprintf("%012d", next))
		case s.number > next:
			gaps = append(gaps, fmt.Sprintf("%012d to %012d", next, s.number-1))
		}
		next = s.number + 1
	}
	if len(gaps) == 0 {
		return
	}
	q.stats.Damaged += int64(len(gaps))
	q.logger.Error(context.Background(), "outbox segments missing: no files have these numbers, and what was in them is lost",
		slog.F("dir", q.dir), slog.F("count", len(gaps)), slog.F("numbers", strings.Join(gaps[:min(len(gaps), mostNamed)], ", ")))
}
