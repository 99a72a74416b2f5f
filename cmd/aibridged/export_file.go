package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
)

// exportTo writes an export to a file that may have the beginning of it, and returns how many rows were completed there. If
// the file has anything else, that is an error, and the file stays as it is.
func exportTo(path string, export iter.Seq2[[]byte, error]) (rows int, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	out := &exportFile{file: file, size: info.Size(), piece: make([]byte, 64<<10)}
	if _, err := writeRows(out, export); err != nil {
		return out.rows, err
	}
	if out.at < out.size {
		return 0, out.differs()
	}
	return out.rows, file.Sync()
}

// An exportFile is a file that has the beginning of what is written to it. What it has is compared, and only what comes behind
// is written: it changes once all that it had was the same.
type exportFile struct {
	file  *os.File
	size  int64  // How many bytes the file had.
	at    int64  // How many bytes were compared or written.
	rows  int    // How many rows were completed.
	piece []byte // What is compared at once.
}

func (f *exportFile) Write(p []byte) (n int, err error) {
	for n < len(p) && f.at < f.size {
		piece := f.piece[:min(int64(len(f.piece)), int64(len(p)-n), f.size-f.at)]
		had, err := f.file.ReadAt(piece, f.at)
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if !bytes.Equal(piece[:had], p[n:n+len(piece)]) {
			return n, f.differs()
		}
		n += len(piece)
		f.at += int64(len(piece))
	}
	written, err := f.file.WriteAt(p[n:], f.at)
	f.rows += bytes.Count(p[n:n+written], []byte{'\n'})
	f.at += int64(written)
	return n + written, err
}

func (f *exportFile) differs() error {
	return fmt.Errorf("%s is not the beginning of this database's export as of now, and stays as it is: choose another file", f.file.Name())
}
