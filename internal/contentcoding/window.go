package contentcoding

import (
	"bufio"
	"encoding/binary"
	"math"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxWindow is the largest window that zstd may use in HTTP (RFC 9659), in bytes.
	maxWindow = 8 << 20
	// tables is about what a decoder takes beside its window.
	tables = 64 << 10
	// longestZstdHeader is the length of zstd's longest frame header (RFC 8878, section 3.1.1.1).
	longestZstdHeader = 18
)

// window returns how many bytes the decoder of a body takes: it allocates the window that the body asks for, however
// little the body has.
func window(coding string, in *bufio.Reader) int64 {
	switch coding {
	case "br":
		head, _ := in.Peek(1)
		return brotliWindow(head) + tables
	case "zstd":
		head, _ := in.Peek(longestZstdHeader)
		return zstdWindow(head) + tables
	}
	return 32<<10 + tables // RFC 1951, section 2.
}

// brotliWindow reads the size of the window from the first byte of a body (RFC 7932, section 9.1).
func brotliWindow(head []byte) int64 {
	bits := 16
	switch {
	case len(head) == 0:
		return 0
	case head[0]&1 == 0:
	case head[0]>>1&7 != 0:
		bits = 17 + int(head[0]>>1&7)
	case head[0]>>4&7 == 0:
		bits = 17
	default:
		bits = 8 + int(head[0]>>4&7)
	}
	return 1 << bits
}

// zstdWindow reads the size of the window from the header of the first frame. A header that cannot be read gets no
// window: the decoder refuses it.
func zstdWindow(head []byte) int64 {
	var header zstd.Header
	if header.Decode(head) != nil {
		return 0
	}
	if header.SingleSegment {
		return int64(min(header.FrameContentSize, maxWindow))
	}
	return int64(min(header.WindowSize, maxWindow))
}

// Expected returns how many bytes a body will have once decoded, without decoding it: what the body says, or else the
// largest that is possible. The body may be wrong.
func Expected(encoding string, body []byte) int64 {
	size := int64(len(body))
	if !IsCoded(encoding) {
		return size
	}
	codings, err := parse(encoding)
	if err == nil && len(codings) == 1 {
		if hint := sizeHint(codings[0], body); hint > 0 {
			return max(size, hint)
		}
	}
	if err == nil && len(codings) == 1 && codings[0] == "deflate" {
		return 1032 * size // The most that deflate can make of a byte.
	}
	return math.MaxInt64
}

// sizeHint returns how many bytes a body says that it has once decoded, or 0 if it does not say. The body may be wrong.
func sizeHint(coding string, body []byte) int64 {
	switch {
	case coding == "gzip" && len(body) >= 18: // RFC 1952, section 2.3: a header of 10 bytes, and a trailer of 8.
		return int64(binary.LittleEndian.Uint32(body[len(body)-4:]))
	case coding == "zstd":
		var header zstd.Header
		if header.Decode(body[:min(len(body), longestZstdHeader)]) == nil && header.HasFCS && header.FrameContentSize < 1<<62 {
			return int64(header.FrameContentSize)
		}
	}
	return 0
}
