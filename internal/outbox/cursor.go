package outbox

import (
	"encoding/binary"
	"os"
)

// cursor is the file that says up to where entries have been delivered. It has two slots, a sector apart, written in
// turn: an interrupted write spoils one of them at most. It is written in place because that needs no room on a full
// disk, and a rename for each batch would make some file systems write the batch out at once.
//
// It is not synced: if the machine stops and the last writes are lost, some entries are delivered again.
type cursor struct {
	file       file
	generation uint64
}

const (
	cursorSlots     = 2
	cursorSlotBytes = 512
	cursorBytes     = 8 + 8 + 8 + 4
)

// mark is a place as it is on disk.
type mark struct {
	segment uint64
	offset  int64 // In the file.
}

// openCursor returns the cursor of a queue and where it stands. known is false if neither slot can be read. fresh is
// true if there was nothing in the file, or no file.
func openCursor(files fileSystem, path string) (c *cursor, at mark, known, fresh bool, err error) {
	opened, err := files.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, mark{}, false, false, err
	}
	c = &cursor{file: opened}
	buffer := make([]byte, cursorSlots*cursorSlotBytes)
	n, _ := opened.ReadAt(buffer, 0) // What cannot be read fails its checksum.
	for slot := range cursorSlots {
		b := buffer[slot*cursorSlotBytes:][:cursorBytes]
		generation := binary.LittleEndian.Uint64(b)
		if binary.LittleEndian.Uint32(b[24:]) != checksum(b[:24]) || generation <= c.generation {
			continue
		}
		at = mark{segment: binary.LittleEndian.Uint64(b[8:]), offset: int64(binary.LittleEndian.Uint64(b[16:]))}
		c.generation, known = generation, true
	}
	return c, at, known, n == 0, nil
}

func (c *cursor) write(at mark) error {
	generation := c.generation + 1
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, cursorBytes), generation)
	b = binary.LittleEndian.AppendUint64(b, at.segment)
	b = binary.LittleEndian.AppendUint64(b, uint64(at.offset))
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	_, err := c.file.WriteAt(b, int64(generation%cursorSlots)*cursorSlotBytes)
	if err == nil {
		c.generation = generation
	}
	return err
}
