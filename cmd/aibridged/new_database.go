package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coder/aibridged/aibridgedserver/sqlite"
)

// checkDatabase refuses to make a database where an earlier gateway had one: who deleted it, or mounted the wrong
// volume, should hear of it before there is an empty one in its place.
func checkDatabase(ctx context.Context, s settings) error {
	empty, err := sqlite.IsEmpty(ctx, s.database())
	if err != nil || !empty {
		return err
	}
	trace, err := s.trace()
	if err != nil || trace == "" {
		return err
	}
	return fmt.Errorf("the database %s is missing or empty, but %s is of an earlier gateway: put the database back, or start `aibridged serve --new-database`, which begins without the tokens, users and records of the old one and delivers the records that still wait",
		s.database(), trace)
}

// trace returns a file that only a gateway that had a database leaves in the data directory, or nothing. The lock is
// none, since a gateway takes it first.
func (s settings) trace() (string, error) {
	for _, pattern := range []string{s.database() + "-wal", filepath.Join(s.records(), "cursor"), filepath.Join(s.records(), "*.log"), filepath.Join(s.records(), "*", "*.rec")} {
		if _, err := os.Lstat(pattern); err == nil {
			return pattern, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", nil
}
