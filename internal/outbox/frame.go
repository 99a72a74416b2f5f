package outbox

import (
	"encoding/binary"
	"hash/crc32"
)

// MaxEntryBytes is the most that one entry may have.
const MaxEntryBytes = 33 << 20

const (
	// A frame is the length of its body, a check of that length, the CRC-32C of the body, and the body: the time of the
	// append in nanoseconds and the entry or head. All numbers are little-endian. The upper four bits of the length are
	// the frame's [Kind], which the check covers, too. A head is the first frame of its segment, if the segment has
	// one.
	frameHeaderBytes = 12
	stampBytes       = 8
	frameOverhead    = frameHeaderBytes + stampBytes

	lengthBits   = 28
	maxBodyBytes = stampBytes + MaxEntryBytes
)

// frame is one entry, or the head, as it lies in a segment.
type frame struct {
	offset  int64 // In the file.
	kind    Kind
	at      int64 // When it was appended, in nanoseconds since 1970.
	payload []byte
}

func (f frame) end() int64 { return f.offset + frameBytes(f.payload) }

// frameBytes returns the size of the frame of an entry.
func frameBytes(entry []byte) int64 { return int64(frameOverhead + len(entry)) }

// appendFrame appends the frame of an entry, or of a head, to b.
func appendFrame(b []byte, salt uint32, kind Kind, at int64, entry []byte) []byte {
	length := uint32(kind)<<lengthBits | uint32(stampBytes+len(entry))
	b = binary.LittleEndian.AppendUint32(b, length)
	b = binary.LittleEndian.AppendUint32(b, lengthCheck(salt, length))
	b = binary.LittleEndian.AppendUint32(b, 0)
	body := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = append(b, entry...)
	binary.LittleEndian.PutUint32(b[body-4:], checksum(b[body:]))
	return b
}

// lengthCheck ties a length to the segment that it is in. A search for frames among damaged bytes goes by it, since a
// length alone is too common. Clients do not know the salt, so they cannot place a frame in a prompt. The salt is not
// zero, so zeros are no frame.
func lengthCheck(salt, length uint32) uint32 {
	const odd = 0x9e3779b1 // Any bit of the length changes the product.
	return salt ^ length*odd
}

// parseLength returns the kind of the frame that begins with b, which has 8 bytes at least, and the length of its body;
// or false, if none does.
func parseLength(b []byte, salt uint32) (kind Kind, length int, ok bool) {
	word := binary.LittleEndian.Uint32(b)
	if binary.LittleEndian.Uint32(b[4:]) != lengthCheck(salt, word) {
		return 0, 0, false
	}
	kind, length = Kind(word>>lengthBits), int(word&(1<<lengthBits-1))
	return kind, length, kind.known() && length >= stampBytes && length <= maxBodyBytes
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
