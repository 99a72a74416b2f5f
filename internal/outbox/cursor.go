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
//
// Each slot ends with a seal that says that the program keeps an inventory. A program that kept none did not write it,
// and what such a program writes into a slot makes a seal that stands there wrong.
type cursor struct {
	file       file
	generation uint64
}

const (
	cursorSlots     = 2
	cursorSlotBytes = 512
	cursorBytes     = 8 + 8 + 8 + 4
	cursorSealBytes = 4
)

// cursorState is what a cursor says when it is opened.
type cursorState struct {
	at          mark // Where it stands.
	known       bool // False: neither slot can be read.
	fresh       bool // There was nothing in the file, or no file.
	inventoried bool // Who wrote it had written an inventory, and synced it.
}

// mark is a place as it is on disk.
type mark struct {
	segment uint64
	offset  int64 // In the file.
}

// openCursor returns the cursor of a queue and what it says.
func openCursor(files fileSystem, path string) (c *cursor, state cursorState, err error) {
	opened, err := files.Open(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, cursorState{}, err
	}
	c = &cursor{file: opened}
	buffer := make([]byte, cursorSlots*cursorSlotBytes)
	n, _ := opened.ReadAt(buffer, 0) // What cannot be read fails its checksum.
	for slot := range cursorSlots {
		b := buffer[slot*cursorSlotBytes:][:cursorBytes+cursorSealBytes]
		generation := binary.LittleEndian.Uint64(b)
		if binary.LittleEndian.Uint32(b[24:]) != checksum(b[:24]) || generation <= c.generation {
			continue
		}
		state.at = mark{segment: binary.LittleEndian.Uint64(b[8:]), offset: int64(binary.LittleEndian.Uint64(b[16:]))}
		state.inventoried = binary.LittleEndian.Uint32(b[cursorBytes:]) == cursorSeal(b)
		c.generation, state.known = generation, true
	}
	state.fresh = n == 0
	return c, state, nil
}

// cursorSeal returns the seal of a slot: the checksum of what its own checksum is of, with a word before it. Over a checksum
// itself it would always be the same.
func cursorSeal(slot []byte) uint32 { return checksum(append([]byte("inventory"), slot[:24]...)) }

// write writes the next slot. An inventory must have been synced before.
func (c *cursor) write(at mark) error {
	generation := c.generation + 1
	b := binary.LittleEndian.AppendUint64(make([]byte, 0, cursorBytes+cursorSealBytes), generation)
	b = binary.LittleEndian.AppendUint64(b, at.segment)
	b = binary.LittleEndian.AppendUint64(b, uint64(at.offset))
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	b = binary.LittleEndian.AppendUint32(b, cursorSeal(b))
	_, err := c.file.WriteAt(b, int64(generation%cursorSlots)*cursorSlotBytes)
	if err == nil {
		c.generation = generation
	}
	return err
}
