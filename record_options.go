package aibridged

import (
	"fmt"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/recording"
)

// Durability says what the records survive that a [Server] has taken and not yet delivered to its control plane.
type Durability string

const (
	// DurabilitySync is for records that survive a crash of the machine: they are on the disk before the client has its
	// answer. Interceptions that end together share one sync of the disk.
	DurabilitySync Durability = "sync"
	// DurabilityKernel is for records that survive the end of the process, and after 100 ms a crash of the machine.
	DurabilityKernel Durability = "kernel"
	// DurabilityMemory is for records that are lost when the process ends.
	DurabilityMemory Durability = "memory"
)

// WhenFull says what happens to requests while there is no room for their records, or the disk cannot be written.
type WhenFull string

const (
	// WhenFullRefuse refuses them with 503: no record, no request.
	WhenFullRefuse WhenFull = "refuse"
	// WhenFullGoOn serves them without records, and logs an error for each.
	WhenFullGoOn WhenFull = "go-on"
)

// RecordOptions says where a [Server] keeps records until its control plane has them. The zero value keeps them in
// memory.
type RecordOptions struct {
	// Directory holds the records of one server; it is made if it is missing. Empty means in memory.
	Directory string
	// Lock is the lock of Directory, if the host has taken it already. Nil means that the server takes it, and releases it
	// when it is shut down.
	Lock *RecordsLock
	// Durability is what they survive there. Empty means DurabilitySync, or DurabilityMemory without a directory.
	Durability Durability
	// MaxBytes bounds the records that wait for the control plane. Zero means 1 GiB, or 64 MiB in memory.
	MaxBytes int64
	// WhenFull is what happens when MaxBytes is reached or the disk fails. Empty means WhenFullRefuse.
	WhenFull WhenFull
}

// open opens the queue that the options describe. Its errors say what to change.
func (o RecordOptions) open(logger slog.Logger) (*recording.Queue, error) {
	durability, err := o.durability()
	if err != nil {
		return nil, err
	}
	options := recording.Options{
		Directory: o.Directory, Durability: durability, MaxBytes: o.MaxBytes, GoOn: o.WhenFull == WhenFullGoOn, Logger: logger,
	}
	if o.Lock != nil {
		options.Lock = o.Lock.lock
	}
	return recording.Open(options)
}

// durability returns the outbox's value for o.Durability.
func (o RecordOptions) durability() (outbox.Durability, error) {
	if o.MaxBytes < 0 {
		return 0, fmt.Errorf("records: a limit of %d bytes: use a positive one", o.MaxBytes)
	}
	switch o.WhenFull {
	case "", WhenFullRefuse, WhenFullGoOn:
	default:
		return 0, fmt.Errorf("records: %q when full: use %s or %s", o.WhenFull, WhenFullRefuse, WhenFullGoOn)
	}
	switch {
	case o.Durability == DurabilityMemory, o.Durability == "" && o.Directory == "":
		return outbox.Memory, nil
	case o.Durability != "" && o.Durability != DurabilitySync && o.Durability != DurabilityKernel:
		return 0, fmt.Errorf("records: durability %q: use %s, %s or %s", o.Durability, DurabilitySync, DurabilityKernel, DurabilityMemory)
	case o.Directory == "":
		return 0, fmt.Errorf("records: durability %s needs a directory: name one, or use %s", o.Durability, DurabilityMemory)
	case o.Durability == DurabilityKernel:
		return outbox.Kernel, nil
	}
	return outbox.Sync, nil
}
