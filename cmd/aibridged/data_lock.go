package main

import (
	"errors"

	"github.com/coder/aibridged"
)

// lockData takes the lock of the data directory, which a gateway holds for as long as it runs, whatever the durability
// of its records. It is the lock of the directory of records, since gateways of earlier versions hold that one. The lock
// is nil where the system has none.
func lockData(s settings) (*aibridged.RecordsLock, error) {
	lock, err := aibridged.LockRecords(s.records())
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	return lock, err
}
