package crashtest

import (
	"os"

	"github.com/coder/aibridged/internal/outbox"
)

// queueFiles are the files of a queue on a machine.
type queueFiles struct {
	outbox.FileSystem

	machine *machine
}

func (m *machine) queueFiles() outbox.FileSystem { return queueFiles{outbox.Disk(), m} }

// MakeDir makes the directory without syncing it: see machine.
func (q queueFiles) MakeDir(dir string) error { return os.MkdirAll(dir, 0o700) }

func (q queueFiles) Open(path string, flags int) (outbox.File, error) {
	var opened outbox.File
	number, err := q.machine.open(path, func() (err error) {
		opened, err = q.FileSystem.Open(path, flags)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := queueFile{opened, q.machine, number}
	if flags&os.O_TRUNC != 0 {
		return f, f.Truncate(0)
	}
	return f, nil
}

func (q queueFiles) Rename(from, to string) error {
	return q.machine.rename(from, to, func() error { return q.FileSystem.Rename(from, to) })
}

func (q queueFiles) Remove(path string) error {
	return q.machine.remove(path, func() error { return q.FileSystem.Remove(path) })
}

func (q queueFiles) SyncDir(dir string) error {
	return q.machine.do(step{what: named, name: q.machine.within(dir)}, func() error { return nil })
}

type queueFile struct {
	outbox.File

	machine *machine
	number  int
}

func (f queueFile) WriteAt(p []byte, offset int64) (n int, err error) {
	s := step{what: wrote, file: f.number, offset: offset, data: append([]byte(nil), p...)}
	err = f.machine.do(s, func() error {
		n, err = f.File.WriteAt(p, offset)
		return err
	})
	return n, err
}

func (f queueFile) Truncate(size int64) error {
	return f.machine.do(step{what: truncated, file: f.number, offset: size}, func() error { return f.File.Truncate(size) })
}

func (f queueFile) Sync() error {
	return f.machine.do(step{what: synced, file: f.number}, func() error { return nil })
}
