// Package contentcoding decodes bodies that carry a Content-Encoding, so that they can be read for records. The relayed
// bytes stay encoded.
package contentcoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/coder/aibridged/internal/memory"
)

// The errors of [Decode] for bodies that may be correct.
var (
	// ErrUnsupported means that a coding is not known, that there are more than three, or that zstd was used with a
	// larger window than HTTP allows.
	ErrUnsupported = errors.New("content coding not supported")
	// ErrTooLarge means that decoding gives more bytes than the limit.
	ErrTooLarge = errors.New("decoded body too large")
)

// largestHint is the largest size that a body is believed to have before it is decoded.
const largestHint = 64 << 20

// maxCodings is how many codings may be applied to one body.
const maxCodings = 3

// IsCoded reports whether encoding, the value of a Content-Encoding header, names anything but identity.
func IsCoded(encoding string) bool {
	if encoding == "" {
		return false
	}
	codings, err := parse(encoding)
	return err != nil || len(codings) > 0
}

// IsKnown reports whether all codings of a Content-Encoding can be decoded here. None at all can.
func IsKnown(encoding string) bool {
	_, err := parse(encoding)
	return err == nil
}

// Decode undoes the codings that encoding names: gzip, deflate (wrapped as zlib or not), br, zstd, identity, or up to
// three of these separated by commas in the order in which they were applied. It returns a buffer of pool, which the
// caller gives back, also if there is an error.
//
// If a coding gives more than limit bytes, the error wraps [ErrTooLarge]; if the pool has no memory left,
// [memory.ErrExhausted] or [memory.ErrNever]. If the body is cut off, the error wraps [io.ErrUnexpectedEOF]. It is an
// error too if the body is not in the coding that is named, or, but for br, is followed by other bytes. In all these
// cases Decode returns, with the error, the bytes that it could decode, at most limit of them; they may be worth
// recording. They may include wrong ones, since a decoder can find only later that its input is wrong.
//
// An empty body is empty in every coding, since answers without content often name one.
func Decode(encoding string, body []byte, limit int64, pool *memory.Pool) ([]byte, error) {
	codings, err := parse(encoding)
	if err != nil || len(body) == 0 {
		return nil, err
	}
	var r io.Reader = bytes.NewReader(body)
	hint := int64(len(body))
	for i := len(codings) - 1; i >= 0; i-- {
		layer := newLayer(codings[i], r, limit, pool)
		defer layer.close()
		r = layer
		hint = 0
	}
	if len(codings) == 1 {
		hint = min(sizeHint(codings[0], body), max(limit, 0), largestHint)
	}
	plain, err := readAll(r, hint, pool)
	if err != nil {
		return plain, fmt.Errorf("decode %s: %w", strings.Join(codings, ", "), err)
	}
	return plain, nil
}

// readAll reads to the end into a buffer of pool. It returns what it has read even if it fails. Hint is how many bytes
// are expected.
func readAll(r io.Reader, hint int64, pool *memory.Pool) ([]byte, error) {
	expected := hint + 1 // One byte more, so that Read finds the end without a larger buffer.
	all, err := pool.Lend(expected)
	for err == nil {
		if len(all) == cap(all) {
			larger, err := pool.Grow(all, expected)
			if err != nil {
				return all, err
			}
			all = larger
		}
		var n int
		n, err = r.Read(all[len(all):cap(all)])
		all = all[:len(all)+n]
	}
	if err == io.EOF {
		err = nil
	}
	return all, err
}

// parse returns the codings that encoding names, in the order in which they were applied.
func parse(encoding string) ([]string, error) {
	var codings []string
	for coding := range strings.SplitSeq(encoding, ",") {
		switch coding = strings.ToLower(strings.Trim(coding, " \t")); coding {
		case "", "identity":
		case "gzip", "x-gzip":
			codings = append(codings, "gzip")
		case "deflate", "br", "zstd":
			codings = append(codings, coding)
		default:
			return nil, fmt.Errorf("%w: %.64q", ErrUnsupported, coding)
		}
		if len(codings) > maxCodings {
			return nil, fmt.Errorf("%w: more than %d codings", ErrUnsupported, maxCodings)
		}
	}
	return codings, nil
}
