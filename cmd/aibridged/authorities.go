package main

import (
	"crypto/x509"
	"sync"
)

// authorities are the certificates of a file, read anew each time. If they cannot be read, those that were read last stay: a file
// that is gone for a moment must not bring those back that were taken away before. It is safe for concurrent use.
type authorities struct {
	file string

	mu   sync.Mutex
	last *x509.CertPool // Guarded by mu.
}

// readFrom reads the authorities of a file for the first time.
func readFrom(file string) (*authorities, error) {
	pool, err := readAuthorities(file)
	return &authorities{file: file, last: pool}, err
}

// now returns the authorities, and an error if they are those that were read before.
func (a *authorities) now() (*x509.CertPool, error) {
	pool, err := readAuthorities(a.file)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.last = pool
	}
	return a.last, err
}
