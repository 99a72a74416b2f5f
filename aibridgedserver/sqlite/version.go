package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/coder/aibridged/internal/tableversion"
)

var (
	// ErrNewer says that a newer program has made the tables of a database, which this one must not touch.
	ErrNewer = tableversion.ErrNewer
	// ErrOlder says that the tables of a database are older than this program's, or not there yet.
	ErrOlder = tableversion.ErrOlder
	// ErrUnusable says that a file is damaged, or has something else than the tables of this package.
	ErrUnusable = errors.New("move it away with the files beside it, put a good copy in its place, or choose another path")
)

// refuseOlder fails if the tables are not yet of this program's version.
func refuseOlder(version int64) error { return tableversion.RefuseOlder(migrations, version) }

// refuseNewer fails if the tables are of a version that this program does not know.
func refuseNewer(version int64) error { return tableversion.RefuseNewer(migrations, version) }

// versionOf returns the version of a file's tables without changing the file. It is zero if there are none yet.
func versionOf(ctx context.Context, file string) (version int64, err error) {
	if _, err := os.Stat(file); err != nil {
		return 0, nil // It is made next, or that says what is wrong with it.
	}
	db, err := connect(file, 1, url.Values{"_query_only": {"on"}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var migrated, own, other bool
	// Those that another program, which may count the versions of its tables in the same way, does not have.
	err = db.QueryRowContext(ctx, `SELECT
			coalesce(sum(name = 'goose_db_version'), 0) > 0,
			coalesce(sum(name IN ('interceptions', 'api_keys', 'mcp_access_tokens')), 0) > 0,
			coalesce(sum(name <> 'goose_db_version' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'), 0) > 0
		FROM sqlite_schema WHERE type IN ('table', 'view')`).Scan(&migrated, &own, &other)
	if err == nil && other && !(migrated && own) {
		return 0, fmt.Errorf("it has the tables of another program: %w", ErrUnusable)
	}
	if err == nil && migrated {
		err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	}
	if err != nil {
		return 0, fmt.Errorf("read the version of its tables: %w", Explain(err))
	}
	return version, nil
}

// IsEmpty reports whether there is no file at path, or one without tables. It fails with [ErrUnusable] if there is
// something else. It changes nothing.
func IsEmpty(ctx context.Context, path string) (bool, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return false, fmt.Errorf("look at database: %w", err)
	}
	// The engine would remove the log of a file that is empty.
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return true, nil
	}
	version, err := versionOf(ctx, path)
	if err != nil {
		return false, fmt.Errorf("open database %q: %w", path, err)
	}
	return version == 0, nil
}
