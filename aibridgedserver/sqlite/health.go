package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
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
// name then, and ends with the process. So health remembers which files were opened, and how large they were: see [sizes].
type health struct {
	path  string
	files map[string]os.FileInfo // By what is behind the path in their names.

	// mu guards what follows.
	mu    sync.Mutex
	sizes sizes
	// cut is why nothing can be stored until the process ends. What the engine would then write from its log into the
	// main file would spoil that, too.
	cut error
	// malformed is what the last Writable found, as long as none has found otherwise.
	malformed error
	held      driver.Conn // Once cut is set: see hold. It is never closed.
}

// newHealth returns the health of the file at a path, which is open.
func newHealth(path string) (*health, error) {
	h := &health{path: path, files: map[string]os.FileInfo{}, sizes: sizes{path: path}}
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
	return h, h.Intact()
}

// Intact implements [aibridgedserver.Health]. It does not open the main file, since closing that would release the locks
// of this process.
func (h *health) Intact() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cut != nil {
		return h.cut
	}
	now := map[string]int64{}
	for suffix, opened := range h.files {
		name := filepath.Base(h.path) + suffix
		info, err := os.Stat(h.path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("the database file %s has been deleted", name)
		case err != nil:
			return fmt.Errorf("the database file %s cannot be reached: %w", name, bare(err))
		case !os.SameFile(opened, info):
			return fmt.Errorf("the database file %s has been replaced by another", name)
		case info.Size() == 0 && suffix == "":
			return fmt.Errorf("the database file %s has been emptied", name)
		}
		now[suffix] = info.Size()
	}
	if h.sizes.shorter(now[""], now["-wal"]) {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		if err := h.sizes.look(ctx, now[""]); err != nil {
			if errors.Is(err, errCut) {
				h.cut = err
				h.hold()
			}
			return err
		}
	}
	h.sizes.note(now[""], now["-wal"])
	return h.malformed
}

// lookTimeout bounds a closer look, which reads all of a database that was rebuilt a moment ago.
const lookTimeout = 10 * time.Minute

// hold opens a connection and does not close it. The last connection that is closed moves the log into the main file;
// where the log was cut, that would put zeros in the place of pages. As it is, what was committed before the log began
// can still be read by the next process.
func (h *health) hold() {
	connector, err := connectorOf(h.path, url.Values{"_query_only": {"on"}})
	if err != nil {
		return
	}
	conn, err := connector.Connect(context.Background())
	if err != nil {
		return
	}
	h.held = conn
	if query, ok := conn.(driver.QueryerContext); ok { // It takes part in the log from its first query on.
		if rows, err := query.QueryContext(context.Background(), `PRAGMA schema_version`, nil); err == nil {
			_ = rows.Close()
		}
	}
}

// close is called before the connections are closed.
func (h *health) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sizes.close()
}

// Writable implements [aibridgedserver.Health]. It opens a connection of its own, since one that has been open for some
// time need not look at the file.
func (h *health) Writable(ctx context.Context) (err error) {
	if err := h.Intact(); err != nil && !errors.Is(err, errMalformed) {
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
	_, err = db.ExecContext(ctx, `UPDATE key_changes SET number = number`)
	failure, ok := errors.AsType[*sqlite.Error](err)
	h.mu.Lock()
	switch {
	case err == nil:
		h.malformed = nil
	case ok && malformed(failure):
		h.malformed = plain(err)
	}
	h.mu.Unlock()
	if err != nil {
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

// errMalformed says that the file is no database any more, or that what is in it contradicts itself.
var errMalformed = errors.New("the database is malformed")

func malformed(err *sqlite.Error) bool {
	return primary(err) == sqlitelib.SQLITE_CORRUPT || primary(err) == sqlitelib.SQLITE_NOTADB
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
		return errMalformed
	case sqlitelib.SQLITE_IOERR:
		return errors.New("the disk of the database fails")
	}
	return err
}
