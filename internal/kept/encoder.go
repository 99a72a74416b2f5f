package kept

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/klauspost/compress/zstd"
)

// The kinds of sections, in their order in a file.
const (
	kindHead     = "head"
	kindRequest  = "request"
	kindAnswer   = "answer"
	kindResponse = "response"
	kindEnd      = "end"
)

// largestSection is the most bytes of a body in one section, and the size at which a zstd frame is ended, so that a
// reader needs no more memory than that for a frame.
const largestSection = 1 << 20

// Section is a piece of an exchange, ready to be encoded.
type Section struct {
	kind  string
	bytes []byte
}

// HeadSection returns the section that begins a file.
func HeadSection(head Head) (Section, error) {
	head.Version = version
	return jsonSection(kindHead, head)
}

// RequestSection returns a piece of the request's body, which it does not copy.
func RequestSection(bytes []byte) Section { return Section{kindRequest, bytes} }

// AnswerSection returns the section that comes before an answer's body.
func AnswerSection(answer Answer) (Section, error) { return jsonSection(kindAnswer, answer) }

// ResponseSection returns a piece of the answer's body, which it does not copy.
func ResponseSection(bytes []byte) Section { return Section{kindResponse, bytes} }

// EndSection returns the section that ends a file.
func EndSection(end End) (Section, error) { return jsonSection(kindEnd, end) }

func (s Section) isBody() bool { return s.kind == kindRequest || s.kind == kindResponse }

// Size returns how much memory the section holds.
func (s Section) Size() int { return len(s.bytes) }

func jsonSection(kind string, value any) (Section, error) {
	bytes, err := json.Marshal(value)
	if err != nil {
		return Section{}, fmt.Errorf("encode %s of kept exchange: %w", kind, err)
	}
	return Section{kind, bytes}, nil
}

// Encoder encodes sections. It is not bound to a file: the result can be appended to any. It is not safe for concurrent
// use.
type Encoder struct {
	zstd  *zstd.Encoder
	plain []byte // Reused.
}

// NewEncoder returns an encoder, which need not be closed.
func NewEncoder() (*Encoder, error) {
	encoder, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(largestSection))
	if err != nil {
		return nil, fmt.Errorf("make encoder of kept exchanges: %w", err)
	}
	return &Encoder{zstd: encoder}, nil
}

// Append appends the encoded sections to dst.
func (e *Encoder) Append(dst []byte, sections ...Section) []byte {
	plain := e.plain[:0]
	for _, section := range sections {
		for rest := section.bytes; ; {
			piece := rest
			if section.isBody() {
				piece = rest[:min(len(rest), largestSection)]
			}
			if len(plain) > 0 && len(plain)+len(piece) > largestSection {
				dst, plain = e.zstd.EncodeAll(plain, dst), plain[:0]
			}
			plain = appendSection(plain, section.kind, piece)
			if rest = rest[len(piece):]; len(rest) == 0 {
				break
			}
		}
	}
	dst = e.zstd.EncodeAll(plain, dst)
	e.plain = plain[:0]
	return dst
}

func appendSection(dst []byte, kind string, bytes []byte) []byte {
	dst = append(dst, kind...)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(bytes)), 10)
	dst = append(dst, '\n')
	dst = append(dst, bytes...)
	return append(dst, '\n')
}
