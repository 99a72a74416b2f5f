// Package contentcoding decodes bodies that carry a Content-Encoding, so that they can be read for records. The relayed
// bytes stay encoded.
package contentcoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The errors of [Decode] for bodies that may be correct.
var (
	// ErrUnsupported means that a coding is not known, that there are more than three, or that zstd was used with a
	// larger window than HTTP allows.
	ErrUnsupported = errors.New("content coding not supported")
	// ErrTooLarge means that decoding gives more bytes than the limit.
	ErrTooLarge = errors.New("decoded body too large")
)

// maxCodings is how many codings may be applied to one body.
const maxCodings = 3

// Decode undoes the codings that encoding names, the value of a Content-Encoding header: gzip, deflate (wrapped as zlib
// or not), br, zstd, identity, or up to three of these separated by commas in the order in which they were applied. If
// there is nothing to undo it returns body itself, whatever its size.
//
// If a coding gives more than limit bytes, the error wraps [ErrTooLarge]. If the body is cut off, the error wraps
// [io.ErrUnexpectedEOF]. It is an error too if the body is not in the coding that is named, or, but for br, is followed by other
// bytes. In all these cases Decode returns, with the error, the bytes that it could decode, at most limit of them; they
// may be worth recording. They may include wrong ones, since a decoder can find only later that its input is wrong.
//
// An empty body is empty in every coding, since answers without content often name one.
func Decode(encoding string, body []byte, limit int64) ([]byte, error) {
	codings, err := parse(encoding)
	if err != nil {
		return nil, err
	}
	if len(codings) == 0 || len(body) == 0 {
		return body, nil
	}
	var r io.Reader = bytes.NewReader(body)
	for i := len(codings) - 1; i >= 0; i-- {
		layer := newLayer(codings[i], r, limit)
		defer layer.close()
		r = layer
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return plain, fmt.Errorf("decode %s: %w", strings.Join(codings, ", "), err)
	}
	return plain, nil
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
