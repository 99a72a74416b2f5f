package aibridge

import (
	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
)

// mostSkimmed is how many bytes of a large coded answer are decoded to see whether it ends in the middle. A bomb is more.
const mostSkimmed = 256 << 20

// skim looks, at an answer that comes in pieces and is not kept, whether it ends in the middle.
type skim struct {
	json    jsonedit.Prefix
	decoder *contentcoding.Stream // Nil: it is not coded.
	err     error                 // Why it cannot be decoded; nil: it can.
}

func newSkim(coding string, pool *memory.Pool) *skim {
	s := &skim{}
	if isCoded(coding) {
		s.decoder, s.err = contentcoding.NewStream(coding, mostSkimmed, pool)
	}
	return s
}

func (s *skim) feed(p []byte) {
	switch {
	case s.err != nil:
	case s.decoder == nil:
		s.json.Feed(p)
	default:
		for plain := range s.decoder.Feed(p) {
			s.json.Feed(plain)
		}
	}
}

// end returns what came of the answer's text, or nil where some of it could not be decoded; and why, where a coded answer
// could not be decoded to its end. A coding that was cut off is [io.ErrUnexpectedEOF].
func (s *skim) end() (*jsonedit.Prefix, error) {
	if s.err == nil && s.decoder != nil {
		for plain := range s.decoder.End() {
			s.json.Feed(plain)
		}
		s.err = s.decoder.Err()
	}
	if s.err != nil {
		return nil, s.err
	}
	return &s.json, nil
}

func (s *skim) close() {
	if s.decoder != nil {
		s.decoder.Close()
	}
}
