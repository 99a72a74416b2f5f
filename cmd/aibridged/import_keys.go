package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/coder/aibridged/aibridgedserver"
)

// longestKeysRow is how many bytes the first row of an export has at most: it names some keys.
const longestKeysRow = 4 << 10

// importable returns the rows of an export, once it is known that the keys of its secrets are here. It is called before the
// database is opened: that would make a new key in a data directory without one, and note it in a new database.
func (s settings) importable(in io.Reader) (iter.Seq2[[]byte, error], error) {
	if file, ok := in.(io.ReadSeeker); ok {
		if start, err := file.Seek(0, io.SeekCurrent); err == nil {
			return s.importableFile(file, start)
		}
	}
	reader := bufio.NewReaderSize(in, 1<<20)
	head := firstLine(reader)
	line, _, whole := bytes.Cut(head, []byte{'\n'})
	ids, first, err := aibridgedserver.KeysOfExport(func(yield func([]byte, error) bool) {
		if whole {
			yield(line, nil)
		}
	})
	if err == nil {
		err = s.haveKeys(ids)
	}
	if err != nil || first || len(head) == 0 {
		return readRows(reader), err
	}
	keys, err := s.ownKeys()
	if err == nil && len(keys) == 0 {
		err = errors.New("this export does not begin with the keys that its secrets are encrypted with, as an earlier version wrote it, and there is no key here: import it from a file, not from standard input; nothing was stored")
	}
	return readRows(reader), err // Each secret is still checked before it is stored.
}

// firstLine returns the beginning of what a reader has, at least up to the end of its first line if that is not too long. It
// leaves all of it in the reader, and waits for no more: who writes the rows may take long for the next one.
func firstLine(reader *bufio.Reader) (head []byte) {
	for size := 1; ; size = min(max(size+1, reader.Buffered()), longestKeysRow) {
		var err error
		head, err = reader.Peek(size) // What is wrong with it is met again.
		if err != nil || size == longestKeysRow || bytes.IndexByte(head, '\n') >= 0 {
			return head
		}
	}
}

// importableFile is importable for what can be read twice.
func (s settings) importableFile(file io.ReadSeeker, start int64) (iter.Seq2[[]byte, error], error) {
	ids, _, err := aibridgedserver.KeysOfExport(readRows(file))
	if err == nil {
		err = s.haveKeys(ids)
	}
	if err != nil {
		return nil, err
	}
	_, err = file.Seek(start, io.SeekStart)
	return readRows(file), err
}

// haveKeys returns an error that says what to do if a key of these ids is not here.
func (s settings) haveKeys(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	needed := "the secrets of this export are encrypted with key " + strings.Join(ids, ", ")
	keys, err := s.ownKeys()
	if err != nil {
		return err
	}
	var here []string
	for _, key := range keys {
		here = append(here, key.ID())
	}
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(here, id) })
	switch {
	case len(missing) == 0:
		return nil
	case len(here) == 0:
		return fmt.Errorf("%s, and there is no key here: copy encryption.key from the data directory that the export is of to %s, or set %s as it is there, and import again; nothing was stored",
			needed, s.encryptionFile(), encryptionVariable)
	}
	return fmt.Errorf("%s, and the %s has only key %s: add the other one behind it, %s, and import again; then `aibridged secrets rotate` encrypts all with one new key; nothing was stored",
		needed, s.encryptionPlace(), strings.Join(here, ", "), s.addingKey())
}

// addingKey says how a further key is written.
func (s settings) addingKey() string {
	if os.Getenv(encryptionVariable) != "" {
		return "with a comma between them"
	}
	return "on a line of its own"
}

// ownKeys returns the keys that are here. It makes none.
func (s settings) ownKeys() ([]aibridgedserver.EncryptionKey, error) {
	if os.Getenv(encryptionVariable) == "" {
		if _, err := os.Stat(s.encryptionFile()); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	return s.encryptionKeys(false)
}
