package outbox

import (
	"io"
	"os"
	"sync"
	"syscall"
)

// faultyFiles is a disk with faults. It is safe for concurrent use.
type faultyFiles struct {
	disk

	mu sync.Mutex
	// fault decides what happens to a call. The names of the calls are those of the interfaces, in lower case, and
	// "create" for an Open that makes a file.
	fault func(call, path string) error
	room  int64 // How many bytes may be added; negative: any number.
	sizes map[string]int64
	calls map[string]int
}

func newFaultyFiles() *faultyFiles {
	return &faultyFiles{room: -1, sizes: map[string]int64{}, calls: map[string]int{}}
}

// set changes what happens from now on.
func (f *faultyFiles) set(fault func(call, path string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *faultyFiles) setRoom(room int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room = room
}

func (f *faultyFiles) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

func (f *faultyFiles) check(call, path string) error {
	f.mu.Lock()
	fault := f.fault
	f.calls[call]++
	f.mu.Unlock()
	if fault == nil {
		return nil
	}
	if err := fault(call, path); err != nil {
		return &os.PathError{Op: call, Path: path, Err: err}
	}
	return nil
}

// grow returns how many of n bytes at an offset of a file there is room for.
func (f *faultyFiles) grow(path string, n int, offset int64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	more := offset + int64(n) - f.sizes[path]
	if more <= 0 {
		return n
	}
	if f.room >= 0 {
		lack := max(0, more-f.room)
		n, more = max(0, n-int(lack)), more-lack // A file with a hole counts as if it had none.
		f.room -= more
	}
	f.sizes[path] += more
	return n
}

// shrink gives back the room of a file beyond a size.
func (f *faultyFiles) shrink(path string, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if less := f.sizes[path] - size; less > 0 {
		f.sizes[path] = size
		if f.room >= 0 {
			f.room += less
		}
	}
}

func (f *faultyFiles) MakeDir(dir string) error {
	if err := f.check("makedir", dir); err != nil {
		return err
	}
	return f.disk.MakeDir(dir)
}

func (f *faultyFiles) List(dir string, most int) ([]string, error) {
	if err := f.check("list", dir); err != nil {
		return nil, err
	}
	return f.disk.List(dir, most)
}

func (f *faultyFiles) Open(path string, flags int) (file, error) {
	call := "open"
	if flags&os.O_CREATE != 0 {
		call = "create"
	}
	if err := f.check(call, path); err != nil {
		return nil, err
	}
	opened, err := f.disk.Open(path, flags)
	if err != nil {
		return nil, err
	}
	size := int64(0)
	if flags&os.O_TRUNC == 0 {
		if size, err = opened.Size(); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	if _, known := f.sizes[path]; !known {
		f.sizes[path] = size
	}
	f.mu.Unlock()
	if flags&os.O_TRUNC != 0 {
		f.shrink(path, 0)
	}
	return &faultyFile{file: opened, files: f, path: path}, nil
}

func (f *faultyFiles) Rename(from, to string) error {
	if err := f.check("rename", from); err != nil {
		return err
	}
	return f.disk.Rename(from, to)
}

func (f *faultyFiles) Remove(path string) error {
	if err := f.check("remove", path); err != nil {
		return err
	}
	f.shrink(path, 0)
	return f.disk.Remove(path)
}

func (f *faultyFiles) SyncDir(dir string) error {
	if err := f.check("syncdir", dir); err != nil {
		return err
	}
	return f.disk.SyncDir(dir)
}

func (f *faultyFiles) Lock(path string) (io.Closer, error) {
	if err := f.check("lock", path); err != nil {
		return nil, err
	}
	return f.disk.Lock(path)
}

type faultyFile struct {
	file
	files *faultyFiles
	path  string
}

func (f *faultyFile) ReadAt(p []byte, offset int64) (int, error) {
	if err := f.files.check("read", f.path); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, offset)
}

// WriteAt writes as much as there is room for.
func (f *faultyFile) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.files.check("write", f.path); err != nil {
		// A failing disk may have taken a part.
		n, _ := f.file.WriteAt(p[:len(p)/2], offset)
		return n, err
	}
	n, err := f.file.WriteAt(p[:f.files.grow(f.path, len(p), offset)], offset)
	if err == nil && n < len(p) {
		err = &os.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
	}
	return n, err
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.files.check("truncate", f.path); err != nil {
		return err
	}
	f.files.shrink(f.path, size)
	return f.file.Truncate(size)
}

func (f *faultyFile) Sync() error {
	if err := f.files.check("sync", f.path); err != nil {
		return err
	}
	return f.file.Sync()
}
