package aibridge

import (
	"crypto/sha256"
	"hash"
)

// bodySum is the size of a body and, where that was asked for, its SHA-256, by which its record can be held against its
// bytes. The zero value is that of no body, without a hash.
type bodySum struct {
	bytes int64
	hash  hash.Hash // Nil: only the size is wanted.
}

// newBodySum returns the sum of no body.
func newBodySum(hashed bool) bodySum {
	if !hashed {
		return bodySum{}
	}
	return bodySum{hash: sha256.New()}
}

// add notes the bytes that came next.
func (s *bodySum) add(p []byte) {
	s.bytes += int64(len(p))
	if s.hash != nil {
		s.hash.Write(p) // Fails never.
	}
}

// sha256 returns the hash, nil where none was wanted or nothing was added.
func (s *bodySum) sha256() []byte {
	if s.hash == nil || s.bytes == 0 {
		return nil
	}
	return s.hash.Sum(nil)
}
