// Package contentcoding decodes bodies that carry a Content-Encoding, so that they can be read along. What is relayed
// stays encoded.
package contentcoding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// What [Decode] fails with where the body itself need not be at fault.
var (
	// ErrUnsupported means that a coding is not known, that there are more than three, or that zstd was used with a
	// larger window than HTTP allows.
	ErrUnsupported = errors.New("content coding not supported")
	// ErrTooLarge means that undoing a coding gives more bytes than allowed.
	ErrTooLarge = errors.New("decoded body too large")
)

// maxCodings is how many codings may be stacked.
const maxCodings = 3

// Decode undoes the codings that encoding names, the value of a Content-Encoding header: gzip, deflate (wrapped as zlib
// or not), br, zstd, identity, or up to three of these separated by commas in the order in which they were applied. If
// there is nothing to undo it returns body itself, whatever its size.
//
// No coding may give more than limit bytes, else the error wraps [ErrTooLarge]. It is an error as well if a body is not
// in the coding that is named, is cut off, or is followed by other bytes; the error for a body that is cut off wraps
// [io.ErrUnexpectedEOF]. In all these cases what could be decoded, at most limit bytes, comes with the error, and may
// be worth recording. Wrong bytes can be decoded some way before they are found to be wrong.
//
// An empty body is empty in every coding: answers without content often name one.
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
