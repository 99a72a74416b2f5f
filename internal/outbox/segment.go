package outbox

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

const (
	// A segment begins with a magic number, the version of its format, and the CRC-32C of both. These are the same in
	// all versions, so that a program recognises a segment of a newer version and leaves it alone.
	segmentHeaderBytes = 16
	segmentMagic       = "OUTBOXSG"
	formatVersion      = 1
)

// segment is one file of the log: a header, perhaps a head, and the frames of entries; and zeros behind these, while it
// is the active one. Number, salt, head, base and first never change; the queue's mu guards the other fields, unless
// they say otherwise.
type segment struct {
	number uint64
	salt   uint32
	head   int64  // Bytes of the frame of its head, which positions do not count.
	base   int64  // Position of its first entry.
	first  uint64 // Number of its first entry.

	size    int64 // Of the frames of entries that are written, or that recovery found.
	entries uint64
	lasting bool  // It has been synced, with its name and head, since it was begun: the segments before it can be removed.
	synced  int64 // The position up to where it has been synced.
	known   int64 // Of recovery: the offset in the file up to where it must have been synced. Zero: nothing is known.

	file    file               // To write to; nil once it is sealed and synced.
	unnamed bool               // Its file was found missing while the queue was open.
	ahead   ahead              // Of the active one. Guarded by appending.
	damaged map[int64]struct{} // Where stretches begin that have been set aside.
	keep    bool               // It has bytes that could not be read or copied: it is set aside whole, not removed.
}

// end returns the position after its last frame.
func (s *segment) end() int64 { return s.base + s.size }

// offset returns where in the file a position is.
func (s *segment) offset(position int64) int64 {
	return segmentHeaderBytes + s.head + position - s.base
}

// position returns which position is at an offset of the file.
func (s *segment) position(offset int64) int64 { return offset - s.offset(0) }

// fileName contains the salt, so that a file can be read even if its first page is damaged.
func (s *segment) fileName() string { return fmt.Sprintf("%012d-%08x.log", s.number, s.salt) }

func (q *Queue) segmentPath(s *segment) string { return filepath.Join(q.dir, s.fileName()) }

// parseSegmentName returns a segment without contents, or nil if name is not the name of one.
func parseSegmentName(name string) *segment {
	parts := regexp.MustCompile(`^([0-9]{12,19})-([0-9a-f]{8})\.log$`).FindStringSubmatch(name)
	if parts == nil {
		return nil
	}
	number, err := strconv.ParseUint(parts[1], 10, 63)
	salt, saltErr := strconv.ParseUint(parts[2], 16, 32)
	if err != nil || saltErr != nil || salt == 0 {
		return nil
	}
	return &segment{number: number, salt: uint32(salt)}
}

func segmentHeader(version uint32) []byte {
	b := append(make([]byte, 0, segmentHeaderBytes), segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, version)
	return binary.LittleEndian.AppendUint32(b, checksum(b))
}

// segmentVersion returns the version that a header names, if the header is whole.
func segmentVersion(header []byte) (version uint32, ok bool) {
	if len(header) < segmentHeaderBytes || string(header[:len(segmentMagic)]) != segmentMagic {
		return 0, false
	}
	version = binary.LittleEndian.Uint32(header[8:])
	return version, binary.LittleEndian.Uint32(header[12:]) == checksum(header[:12])
}

// createSegment makes the file of a new segment, which begins at a place, with its head. The caller has q.appending.
func (q *Queue) createSegment(begin place) (*segment, error) {
	s := &segment{number: q.lastNumber + 1, salt: rand.Uint32N(1<<32-1) + 1, base: begin.position, first: begin.entry}
	contents := segmentHeader(formatVersion)
	if q.options.Head != nil {
		head := q.options.Head()
		if len(head) > MaxEntryBytes {
			return nil, fmt.Errorf("a head of %d bytes: one may have %d", len(head), MaxEntryBytes)
		}
		if len(head) > 0 {
			contents = appendFrame(contents, s.salt, Head, q.now(), head)
			s.head = frameBytes(head)
		}
	}
	opened, err := q.files.Open(q.segmentPath(s), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if _, err := opened.WriteAt(contents, 0); err != nil {
		_ = opened.Close()
		_ = q.files.Remove(q.segmentPath(s))
		return nil, err
	}
	q.lastNumber = s.number
	s.file = opened
	return s, nil
}
