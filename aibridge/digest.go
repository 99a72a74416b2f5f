package aibridge

import (
	"crypto/sha256"
	"hash"
)

// digest is the length and the hash of a body, by which its record can be held against its bytes. The zero value is that
// of no body.
type digest struct {
	bytes int64
	hash  hash.Hash
}

// add notes the bytes that came next.
func (d *digest) add(p []byte) {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.bytes += int64(len(p))
	d.hash.Write(p) // Fails never.
}

// sum returns the SHA-256, nil where nothing was added.
func (d *digest) sum() []byte {
	if d.hash == nil {
		return nil
	}
	return d.hash.Sum(nil)
}
