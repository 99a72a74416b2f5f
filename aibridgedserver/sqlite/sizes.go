package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// sizes notices that the database or its log was cut while the engine has them open.
//
// The engine goes on as if nothing had happened: it writes behind the hole, and what it commits ends with the process.
// Both files may become shorter in an orderly way, too: when somebody rebuilds the database (VACUUM) or empties the log
// (PRAGMA wal_checkpoint). So a file that has become shorter, or has a hole, is only a reason to look closer.
type sizes struct {
	path string
	log  *os.File // Nil: none is open. The engine has no locks on it, so it may be closed.

	main, logged int64 // How large they were at the last look.
}

const (
	// The log is a header and frames, each of which is a header and a page. Numbers are big-endian. Both headers have the
	// salts of the log, which change when it begins anew. See https://sqlite.org/fileformat2.html, section 4.1.
	logHeaderBytes   = 32
	frameHeaderBytes = 24
	logPageSizeAt    = 8
	logSaltsAt       = 16
	frameSaltsAt     = 8
	saltsBytes       = 8

	// looks is how often a log is looked at that others change at the same time.
	looks = 5
)

// errCut says that a part of a file is gone that nobody took away in an orderly way.
var errCut = errors.New("has been cut while it was in use")

// shorter reports whether something has to be looked at closer, given how large the files are now.
func (s *sizes) shorter(main, logged int64) bool {
	if main < s.main || logged < s.logged {
		return true
	}
	return s.logged > 0 && !s.whole()
}

// whole reports whether the log still begins with a header, and has a frame where its last one was. Where it was cut and
// written to since, there are zeros. It reads 56 bytes.
func (s *sizes) whole() bool {
	var header [logHeaderBytes]byte
	if s.log == nil {
		opened, err := os.Open(s.path + "-wal")
		if err != nil {
			return true // Whether the file is there is asked elsewhere.
		}
		s.log = opened
	}
	if _, err := s.log.ReadAt(header[:], 0); err != nil {
		return false
	}
	page := int64(binary.BigEndian.Uint32(header[logPageSizeAt:]))
	if page == 0 {
		return false
	}
	last := (s.logged-logHeaderBytes)/(frameHeaderBytes+page) - 1
	if last < 0 {
		return true
	}
	var frame [4]byte // The number of a page, which is never zero.
	_, err := s.log.ReadAt(frame[:], logHeaderBytes+last*(frameHeaderBytes+page))
	return err == nil && frame != [4]byte{}
}

// note remembers how large the files are.
func (s *sizes) note(main, logged int64) { s.main, s.logged = main, logged }

// look returns errCut if something is gone that is needed, and another error if that cannot be told now. It uses a
// connection of its own, whose pages come from the files. main is how large the main file is.
func (s *sizes) look(ctx context.Context, main int64) (err error) {
	db, err := connect(s.path, 1, url.Values{"_query_only": {"on"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := s.lookAtLog(ctx, db, main); err != nil {
		return err
	}
	var pages, size int64
	err = db.QueryRowContext(ctx, `SELECT page_count, page_size FROM pragma_page_count, pragma_page_size`).Scan(&pages, &size)
	if err != nil {
		return s.unreadable(err, main)
	}
	info, err := os.Stat(s.path)
	if err != nil {
		return bare(err)
	}
	if info.Size() >= pages*size {
		return nil
	}
	// The pages beyond its end are in the log, or nowhere.
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return s.unreadable(err, main)
	}
	if verdict != "ok" {
		return s.cut("")
	}
	return nil
}

// lookAtLog looks for each frame that the engine counts on: it keeps their number elsewhere.
func (s *sizes) lookAtLog(ctx context.Context, db *sql.DB, main int64) error {
	for range looks {
		before, err := countFrames(ctx, db)
		if err != nil {
			return s.unreadable(err, main)
		}
		if before.moved == before.frames {
			return nil // All is in the main file.
		}
		missing := !s.hasFrames(before.frames)
		after, err := countFrames(ctx, db)
		switch {
		case err != nil:
			return s.unreadable(err, main)
		case before == after && missing:
			return s.cut("-wal")
		case !missing:
			return nil
		}
	}
	return errors.New("its log changes all the time")
}

// frameCount is how many frames the log has, and how many of them are in the main file, too.
type frameCount struct{ frames, moved int64 }

func countFrames(ctx context.Context, db *sql.DB) (n frameCount, err error) {
	var busy bool
	err = db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(NOOP)`).Scan(&busy, &n.frames, &n.moved)
	return n, err
}

// hasFrames reports whether the log has so many frames of the present salts.
func (s *sizes) hasFrames(frames int64) bool {
	opened, err := os.Open(s.path + "-wal")
	if err != nil {
		return false
	}
	defer opened.Close()
	header := make([]byte, logHeaderBytes)
	if _, err := opened.ReadAt(header, 0); err != nil {
		return false
	}
	page := int64(binary.BigEndian.Uint32(header[logPageSizeAt:]))
	frame := make([]byte, frameHeaderBytes)
	for n := range frames {
		at := logHeaderBytes + n*(frameHeaderBytes+page)
		if _, err := opened.ReadAt(frame, at); err != nil ||
			string(frame[frameSaltsAt:][:saltsBytes]) != string(header[logSaltsAt:][:saltsBytes]) || binary.BigEndian.Uint32(frame) == 0 {
			return false
		}
	}
	if frames == 0 {
		return true
	}
	info, err := opened.Stat()
	return err == nil && info.Size() >= logHeaderBytes+frames*(frameHeaderBytes+page)
}

// hasHole reports whether the log has zeros in the place of a header. The engine never leaves any.
func (s *sizes) hasHole() bool {
	opened, err := os.Open(s.path + "-wal")
	if err != nil {
		return false
	}
	defer opened.Close()
	header := make([]byte, logHeaderBytes)
	if _, err := opened.ReadAt(header, 0); err != nil {
		return false
	}
	page := int64(binary.BigEndian.Uint32(header[logPageSizeAt:]))
	if page == 0 {
		return true
	}
	for at := int64(logHeaderBytes); ; at += frameHeaderBytes + page {
		if _, err := opened.ReadAt(header[:frameHeaderBytes], at); err != nil {
			return false
		}
		if binary.BigEndian.Uint32(header) == 0 {
			return true
		}
	}
}

func (s *sizes) cut(suffix string) error {
	return fmt.Errorf("the database file %s%s %w", filepath.Base(s.path), suffix, errCut)
}

// unreadable returns what it means that the engine cannot read its files.
func (s *sizes) unreadable(err error, main int64) error {
	failure, ok := errors.AsType[*sqlite.Error](err)
	switch {
	case ok && failure.Code() == sqlitelib.SQLITE_IOERR_SHORT_READ:
		return s.cut("-wal") // The end of the main file is none: the engine takes what is behind it for zeros.
	case ok && malformed(failure) && main < s.main:
		return s.cut("")
	case ok && malformed(failure) && s.hasHole():
		return s.cut("-wal")
	}
	return plain(err)
}

// close closes the log.
func (s *sizes) close() error {
	if s.log == nil {
		return nil
	}
	log := s.log
	s.log = nil
	return log.Close()
}
