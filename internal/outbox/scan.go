package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

const (
	// scanBytes is how much of a segment is read at a time, unless a frame is larger.
	scanBytes = 256 << 10
	pageBytes = 4 << 10
	// sectorBytes is what a disk writes whole or not at all.
	sectorBytes = 512
)

// scanner reads the frames of a segment in their order and passes over what is damaged. It never hands out an entry
// whose CRC is wrong.
type scanner struct {
	file   io.ReaderAt
	salt   uint32
	offset int64 // In the file, of what comes next.

	// unreadable says that some bytes could not be read from the disk; they were taken for zeros.
	unreadable bool

	buffer []byte // The file's bytes from start on.
	start  int64
}

// next returns the next frame that ends no later than limit. If it does not begin where the scanner stood, then what
// lies between is damaged; if there is none, everything up to limit is. The payload is valid until the next call.
func (s *scanner) next(limit int64) (f frame, found bool) {
	f, found = s.frame(s.offset, limit)
	if !found {
		f, found = s.search(s.offset+1, limit)
	}
	if !found {
		s.offset = max(s.offset, limit)
		return frame{}, false
	}
	s.offset = f.end()
	return f, true
}

// frame returns the frame at an offset, if there is one.
func (s *scanner) frame(offset, limit int64) (frame, bool) {
	header := s.window(offset, frameHeaderBytes, limit)
	if len(header) < frameHeaderBytes {
		return frame{}, false
	}
	kind, length, ok := parseLength(header, s.salt)
	crc := binary.LittleEndian.Uint32(header[8:])
	if !ok || offset+frameHeaderBytes+int64(length) > limit {
		return frame{}, false
	}
	body := s.window(offset+frameHeaderBytes, length, limit)
	if len(body) < length || checksum(body) != crc {
		return frame{}, false
	}
	return frame{offset: offset, kind: kind, at: int64(binary.LittleEndian.Uint64(body)), payload: body[stampBytes:]}, true
}

// search returns the first frame at or after an offset.
func (s *scanner) search(offset, limit int64) (frame, bool) {
	for offset+frameOverhead <= limit {
		window := s.window(offset, int(min(scanBytes, limit-offset)), limit)
		if len(window) < frameOverhead {
			return frame{}, false
		}
		next, start := len(window)-7, s.start // The last seven bytes are too few to tell.
		for i := range next {
			if _, _, ok := parseLength(window[i:], s.salt); !ok {
				continue
			}
			if f, found := s.frame(offset+int64(i), limit); found {
				return f, true
			}
			if s.start != start { // That moved the window.
				next = i + 1
				break
			}
		}
		offset += int64(next)
	}
	return frame{}, false
}

// window returns n bytes at an offset, or fewer where the file or limit ends before. They are valid until the next
// call.
func (s *scanner) window(offset int64, n int, limit int64) []byte {
	n = int(min(int64(n), limit-offset))
	if n <= 0 {
		return nil
	}
	if from := offset - s.start; from >= 0 && from+int64(n) <= int64(len(s.buffer)) {
		return s.buffer[from:][:n]
	}
	size := int(min(int64(max(n, scanBytes)), limit-offset))
	if cap(s.buffer) < size || cap(s.buffer) > 4*scanBytes && size <= scanBytes {
		s.buffer = make([]byte, max(size, int(min(scanBytes, limit))))
	}
	s.start, s.buffer = offset, s.buffer[:size]
	s.buffer = s.buffer[:s.read(s.buffer, offset)]
	return s.buffer[:min(n, len(s.buffer))]
}

// read fills p from an offset, as far as the file goes. A page that cannot be read counts as a page of zeros.
func (s *scanner) read(p []byte, offset int64) int {
	n, err := s.file.ReadAt(p, offset)
	if err == nil || errors.Is(err, io.EOF) {
		return n
	}
	for n < len(p) {
		end := min(len(p), n+pageBytes-int((offset+int64(n))%pageBytes))
		got, err := s.file.ReadAt(p[n:end], offset+int64(n))
		if errors.Is(err, io.EOF) {
			return n + got
		}
		if err != nil {
			clear(p[n+got : end])
			s.unreadable = true
		}
		n = end
	}
	return n
}

// torn reports whether the end of a segment, from offset on, is what remains of a write when its process ends or its
// machine stops. end is behind the last byte that is not zero. What remains is the beginning of a frame: it goes up to
// where the file ends, or up to where one of the frame's sectors begins, with zeros from there on. If the zeros begin
// elsewhere, the frame was whole once.
func (s *scanner) torn(offset, limit int64) (torn bool, end int64) {
	end = s.lastByte(offset, limit)
	whole := offset + frameHeaderBytes
	header := s.window(offset, frameHeaderBytes, limit)
	if len(header) < 8 || end == offset {
		return true, end
	}
	if _, length, ok := parseLength(header, s.salt); ok {
		whole += int64(length)
	} else if end >= offset+8 {
		return false, end
	}
	sector := (whole - 1) / sectorBytes * sectorBytes // The last one that the frame reaches into.
	return whole > limit || end <= sector && sector > offset, end
}

// lastByte returns the end of a stretch without the zeros that it ends with.
func (s *scanner) lastByte(offset, limit int64) int64 {
	end := offset
	for offset < limit {
		window := s.window(offset, scanBytes, limit)
		if len(window) == 0 {
			break
		}
		if rest := bytes.TrimRight(window, "\x00"); len(rest) > 0 {
			end = offset + int64(len(rest))
		}
		offset += int64(len(window))
	}
	return end
}

// zeros reports whether a stretch holds nothing but zeros.
func (s *scanner) zeros(offset, limit int64) bool { return s.lastByte(offset, limit) == offset }
