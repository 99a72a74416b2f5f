package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/internal/outbox"
)

const (
	// upgradePatience is how long a command waits for another process to bring the tables up to date.
	upgradePatience = 5 * time.Second
	// upgradePause is the time between two looks at whether they are.
	upgradePause = 20 * time.Millisecond
)

// withStore opens the control plane's database for as long as use runs, also beside a gateway that runs.
func withStore(ctx context.Context, s settings, use func(*store) error) error {
	db, err := openBeside(ctx, s)
	if err != nil {
		return err
	}
	store, err := newStore(ctx, s, db, aibridgedserver.Options{Unchecked: true}) // Most commands need no secret.
	if err != nil {
		return err
	}
	return errors.Join(s.explainEncryption(use(store)), store.Close())
}

// openBeside opens the database. It brings the tables up to date only while it has the lock of the data directory, since
// a running gateway of an older version needs them as they are. A database that is up to date needs no lock: commands
// that run long, such as export and verify, keep no gateway from starting.
func openBeside(ctx context.Context, s settings) (aibridgedserver.Database, error) {
	if s.postgres != "" {
		// Migrations only add there, so that gateways of the version before go on.
		return s.open(ctx, slog.Logger{})
	}
	for deadline := time.Now().Add(upgradePatience); ; {
		db, older := sqlite.OpenCurrent(ctx, s.database())
		if !errors.Is(older, sqlite.ErrOlder) {
			return db, older
		}
		db, err := openAlone(ctx, s)
		if !errors.Is(err, outbox.ErrInUse) {
			return db, err
		}
		if time.Now().After(deadline) {
			return db, fmt.Errorf("%w, but %w", older, err)
		}
		select {
		case <-time.After(upgradePause): // The other process may be bringing them up to date.
		case <-ctx.Done():
			return db, ctx.Err()
		}
	}
}

// openAlone opens the database and brings its tables up to date, with the lock of the data directory. It has the turn
// meanwhile, so that a gateway that starts waits until it is done.
func openAlone(ctx context.Context, s settings) (db aibridgedserver.Database, err error) {
	turn, err := awaitTurn(ctx, s, upgradePatience, func(error) {})
	if errors.Is(err, outbox.ErrInUse) {
		return db, fmt.Errorf("the data directory is %w, which is at that: try again when it is done", holder(err))
	}
	if err != nil {
		return db, err
	}
	defer func() { err = errors.Join(err, release(turn)) }()
	lock, err := takeDataLock(s)
	if errors.Is(err, outbox.ErrInUse) {
		return db, fmt.Errorf("the data directory is %w, a gateway of an older version or one that has only just started: stop it first, or use its own program", holder(err))
	}
	if err != nil {
		return db, err
	}
	defer func() { err = errors.Join(err, release(lock)) }()
	if err := checkDatabase(ctx, s); err != nil {
		return db, err
	}
	return sqlite.Open(ctx, s.database())
}
