package kept

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	extension  = ".exchange.zst"
	unfinished = ".part" // Ends the name of a file whose exchange is not complete.
)

// Path returns the path of the file for a round of an interception: when it is finished, and until then.
func Path(dir string, interception uuid.UUID, round int) (finished, until string) {
	name := filepath.Join(dir, interception.String()+"-"+strconv.Itoa(round)+extension)
	return name, name + unfinished
}

// ReadFile reads the file of a round of an interception. Where there is none, or it is still empty, its error wraps
// [fs.ErrNotExist]. From an unfinished file it returns what is there, and ignores bytes after its last whole section.
// Other errors are those of [Read].
func ReadFile(dir string, interception uuid.UUID, round int) (exchange *Exchange, err error) {
	finished, until := Path(dir, interception, round)
	isFinished := true
	for _, name := range []string{finished, until, finished} { // The file may be finished between the first two tries.
		isFinished = name == finished
		if exchange, err = readFile(name); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	switch {
	case errors.Is(err, ErrDamaged) && !isFinished && exchange.Head.Version == 0:
		return nil, fmt.Errorf("%w: nothing of it was kept", fs.ErrNotExist)
	case errors.Is(err, ErrDamaged) && !isFinished:
	case err != nil:
		return exchange, err
	case exchange.End == nil && isFinished:
		return exchange, fmt.Errorf("%w: its end is missing", ErrDamaged)
	}
	if head := exchange.Head; head.Interception != interception || head.Round != round {
		return exchange, fmt.Errorf("%w: it is of round %d of interception %v", ErrDamaged, head.Round, head.Interception)
	}
	return exchange, nil
}

func readFile(name string) (*Exchange, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	exchange, err := Read(file)
	return exchange, errors.Join(err, file.Close())
}

// File is a file of kept exchanges in a directory.
type File struct {
	Path         string
	Interception uuid.UUID
	Round        int
	Finished     bool
	Written      time.Time // When the file was last written to.
}

// Files yields the kept files of a directory, in no order. It skips files with other names, and files that are removed
// meanwhile. A directory that does not exist has none. It ends after the first error.
func Files(dir string) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		listing, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(File{}, err)
			return
		}
		defer listing.Close()
		for {
			// In parts: there may be a million files.
			entries, err := listing.ReadDir(256)
			for _, entry := range entries {
				file, ok := fileOf(entry.Name())
				if !ok {
					continue
				}
				info, err := entry.Info()
				if errors.Is(err, fs.ErrNotExist) {
					continue
				}
				if err == nil {
					file.Path, file.Written = filepath.Join(dir, entry.Name()), info.ModTime()
				}
				if !yield(file, err) || err != nil {
					return
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(File{}, err)
				}
				return
			}
		}
	}
}

// fileOf returns what a file name says, and whether it is the name of a kept file.
func fileOf(name string) (file File, ok bool) {
	stem, isUnfinished := strings.CutSuffix(name, unfinished)
	stem, ok = strings.CutSuffix(stem, extension)
	const idLength = 36
	if !ok || len(stem) < idLength+2 || stem[idLength] != '-' {
		return File{}, false
	}
	id, idErr := uuid.Parse(stem[:idLength])
	round, roundErr := strconv.Atoi(stem[idLength+1:])
	file = File{Interception: id, Round: round, Finished: !isUnfinished}
	finished, until := Path("", id, round)
	return file, idErr == nil && roundErr == nil && (name == finished || name == until)
}
