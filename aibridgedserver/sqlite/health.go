package sqlite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

const (
	// probePatience is how long another program may hold the file before it counts as locked.
	probePatience = 2 * time.Second
	// probeBytes is how much room the disk must have beside the file.
	probeBytes = 64 << 10
)

// health implements [aibridgedserver.Health].
//
// The engine goes on writing to files that have been deleted or replaced, and notices nothing: what it commits has no
// name then, and ends with the process. So health remembers which files were opened.
type health struct {
	path  string
	files map[string]os.FileInfo // By what is behind the path in their names.
}

// newHealth returns the health of the file at a path, which is open.
func newHealth(path string) (*health, error) {
	h := &health{path: path, files: map[string]os.FileInfo{}}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue // The engine does without it on this file system.
		}
		if err != nil {
			return nil, err
		}
		h.files[suffix] = info
	}
	return h, nil
}

// Intact implements [aibridgedserver.Health]. It does not open the files, since closing one would release the locks of
// this process.
func (h *health) Intact() error {
	for suffix, opened := range h.files {
		name := filepath.Base(h.path) + suffix
		now, err := os.Stat(h.path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("the database file %s has been deleted", name)
		case err != nil:
			return fmt.Errorf("the database file %s cannot be reached: %w", name, bare(err))
		case !os.SameFile(opened, now):
			return fmt.Errorf("the database file %s has been replaced by another", name)
		case now.Size() == 0 && suffix == "":
			return fmt.Errorf("the database file %s has been emptied", name)
		}
	}
	return nil
}

// Writable implements [aibridgedserver.Health]. It opens a connection of its own, since one that has been open for some
// time need not look at the file.
func (h *health) Writable(ctx context.Context) (err error) {
	if err := h.Intact(); err != nil {
		return err
	}
	if err := h.findRoom(); err != nil {
		return err
	}
	db, err := connect(h.path, 1, url.Values{
		"_txlock": {"immediate"}, "_synchronous": {"NORMAL"},
		"_busy_timeout": {strconv.FormatInt(probePatience.Milliseconds(), 10)},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// This writes a page and changes nothing.
	if _, err := db.ExecContext(ctx, `UPDATE key_changes SET number = number`); err != nil {
		return plain(err)
	}
	return h.Intact()
}

// findRoom writes a file beside the database and removes it: what the database needs next may fit into files that it
// has already.
func (h *health) findRoom() (err error) {
	path := h.path + "-probe"
	probe, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err == nil {
		piece := make([]byte, probeBytes)
		_, _ = rand.Read(piece) // Some file systems need no room for zeros. It never fails.
		_, err = probe.Write(piece)
		err = errors.Join(err, probe.Close(), os.Remove(path))
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return errors.New("the disk of the database is full")
	case errors.Is(err, syscall.EROFS):
		return errors.New("the disk of the database is read-only")
	}
	return fmt.Errorf("the directory of the database cannot be written: %w", bare(err))
}

// bare returns what is wrong, without the path.
func bare(err error) error {
	if failure, ok := errors.AsType[*fs.PathError](err); ok {
		return failure.Err
	}
	return err
}

// plain says what an error of the engine means for the file.
func plain(err error) error {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch primary(failure) {
	case sqlitelib.SQLITE_FULL:
		return errors.New("the disk of the database is full")
	case sqlitelib.SQLITE_READONLY, sqlitelib.SQLITE_CANTOPEN, sqlitelib.SQLITE_PERM:
		return errors.New("the database is read-only")
	case sqlitelib.SQLITE_BUSY, sqlitelib.SQLITE_LOCKED:
		return fmt.Errorf("another program has locked the database for %v", probePatience)
	case sqlitelib.SQLITE_CORRUPT, sqlitelib.SQLITE_NOTADB:
		return errors.New("the database is malformed")
	case sqlitelib.SQLITE_IOERR:
		return errors.New("the disk of the database fails")
	}
	return err
}
