// Package tableversion compares the version of a database's tables with that of the program's migrations.
package tableversion

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/pressly/goose/v3"
)

var (
	// ErrNewer says that a newer program has made the tables of a database, which this one must not touch.
	ErrNewer = errors.New("use the newer program")
	// ErrOlder says that the tables of a database are older than this program's, or not there yet.
	ErrOlder = errors.New("they need to be brought up to date")
)

// RefuseOlder returns [ErrOlder] if a version is below that of the migrations, which are the files in the directory of that
// name, each named for its version.
func RefuseOlder(migrations fs.FS, version int64) error {
	known, err := latest(migrations)
	if err == nil && version < known {
		err = fmt.Errorf("its tables are of version %d, and this program's are of version %d: %w", version, known, ErrOlder)
	}
	return err
}

// RefuseNewer returns [ErrNewer] if a version is above that of the migrations.
func RefuseNewer(migrations fs.FS, version int64) error {
	known, err := latest(migrations)
	if err == nil && version > known {
		err = fmt.Errorf("its tables are of version %d, and this program knows only those up to %d: %w", version, known, ErrNewer)
	}
	return err
}

// latest returns the version that the migrations lead to.
func latest(migrations fs.FS) (latest int64, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	for _, name := range names {
		version, failure := goose.NumericComponent(path.Base(name))
		latest, err = max(latest, version), errors.Join(err, failure)
	}
	return latest, err
}
