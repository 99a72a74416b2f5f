package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
)

// checkDatabase refuses to make a database where an earlier gateway had one: who deleted it, or mounted the wrong
// volume, should hear of it before there is an empty one in its place.
func checkDatabase(ctx context.Context, s settings) error {
	empty, err := s.isEmpty(ctx)
	if err != nil {
		return adviseNew(err)
	}
	if !empty {
		return nil
	}
	trace, err := s.trace()
	if err != nil || trace == "" {
		return err
	}
	return fmt.Errorf("the database %s is missing or empty, but %s is of an earlier gateway: put the database back, or start `aibridged serve --new-database`, which begins without the tokens, users and records of the old one and delivers the records that still wait",
		s.place(), trace)
}

// trace returns a file that only a gateway that had a database leaves in the data directory, or nothing. The lock is
// none, since a gateway takes it first.
func (s settings) trace() (string, error) {
	return firstOf(append([]string{s.database() + "-wal"}, s.recordTraces()...))
}

// recordTraces returns the patterns of what only a queue that was opened leaves in its directory.
func (s settings) recordTraces() []string {
	return []string{filepath.Join(s.records(), "cursor"), filepath.Join(s.records(), "*.log"), filepath.Join(s.records(), "*", "*.rec")}
}

// firstOf returns a file that has one of the names or matches one of the patterns, or nothing.
func firstOf(patterns []string) (string, error) {
	for _, pattern := range patterns {
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

// adviseNew adds to the error about a file that cannot be used how to begin without it.
func adviseNew(err error) error {
	if errors.Is(err, sqlite.ErrUnusable) {
		return fmt.Errorf("%w; once it is away, `aibridged serve --new-database` begins without its tokens, users and records", err)
	}
	return err
}

// noteLostRecords says it if the directory of records is new, though a gateway has used the database: who deleted it, or
// mounted the wrong volume, may have lost the records that waited there. It is called before this gateway uses the
// database. It is not for a database that several gateways share, each with a directory of its own.
func noteLostRecords(ctx context.Context, s settings, control *store, logger slog.Logger) error {
	trace, err := firstOf(s.recordTraces())
	if err != nil || trace != "" {
		return err
	}
	providers, err := control.Providers(ctx)
	if err != nil {
		return err
	}
	used := slices.ContainsFunc(providers, func(p aibridgedserver.Provider) bool { return p.Configured }) // A gateway stores these.
	for _, err := range control.Outlines(ctx, aibridgedserver.InterceptionFilter{Limit: 1}) {
		if err != nil {
			return err
		}
		used = true
	}
	if used {
		logger.Error(ctx, "records directory is new, though a gateway has used the database: records that waited there are lost",
			slog.F("dir", s.records()))
	}
	return nil
}
