package aibridge

import (
	"crypto/sha256"
	"hash"
)

// bodySum is the size of a body and, if asked for, its SHA-256, so that a record can be compared with the bytes. The
// zero value is the sum of an empty body, without a hash.
type bodySum struct {
	bytes int64
	hash  hash.Hash // Nil: only the size is wanted.
}

// newBodySum returns the sum of an empty body.
func newBodySum(hashed bool) bodySum {
	if !hashed {
		return bodySum{}
	}
	return bodySum{hash: sha256.New()}
}

// add adds the next bytes of the body.
func (s *bodySum) add(p []byte) {
	s.bytes += int64(len(p))
	if s.hash != nil {
		s.hash.Write(p) // It never fails.
	}
}

// sha256 returns the hash, or nil if none was wanted or nothing was added.
func (s *bodySum) sha256() []byte {
	if s.hash == nil || s.bytes == 0 {
		return nil
	}
	return s.hash.Sum(nil)
}
