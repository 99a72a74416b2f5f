package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/internal/outbox"
)

const (
	// turnPatience is how long a gateway that starts waits for a command that brings the tables up to date, which takes
	// half a minute per million interceptions. One that takes longer has been stopped, or hangs.
	turnPatience = 10 * time.Minute
	// turnPause is the time between two looks at whether it is done.
	turnPause = 20 * time.Millisecond
	// soonTurn is longer than anyone has the turn who does not bring tables up to date.
	soonTurn = 100 * time.Millisecond
)

// lockData takes the lock of the data directory for a gateway or a control plane, which holds it for as long as it runs.
// If a command has the lock, it waits for that command; if another gateway has it, it fails at once.
//
// The two can be told apart since nobody takes the lock without having the turn (see [takeTurn]). A gateway returns the
// turn when it has the lock, and a command keeps it until it has released the lock. So who has the turn and is refused the
// lock is refused it by a gateway.
func lockData(ctx context.Context, s settings, logger slog.Logger) (_ *aibridged.RecordsLock, err error) {
	turn, err := awaitTurn(ctx, s, turnPatience, func(holder error) {
		logger.Info(ctx, "a command brings the tables up to date: the start goes on when it is done", slog.F("data_dir", s.dataDir), slog.Error(holder))
	})
	if errors.Is(err, outbox.ErrInUse) {
		err = fmt.Errorf("data directory %s is %w, a command that has been bringing its tables up to date for %v: stop it, and start again",
			s.dataDir, holder(err), turnPatience)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release(turn)) }()
	return takeDataLock(s)
}

// awaitTurn takes the turn as soon as nobody has it. It calls waits once if that is not soon. The error is
// [outbox.ErrInUse] if the turn has never been free when it looked.
func awaitTurn(ctx context.Context, s settings, patience time.Duration, waits func(holder error)) (*aibridged.RecordsLock, error) {
	for began, told := time.Now(), false; ; {
		turn, err := takeTurn(s)
		waited := time.Since(began)
		if !errors.Is(err, outbox.ErrInUse) || waited > patience {
			return turn, err
		}
		if waited > soonTurn && !told {
			told = true
			waits(holder(err))
		}
		select {
		case <-time.After(turnPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// takeTurn takes the turn to have the lock of the data directory, which is a lock in a directory of its own. Like that
// lock, it ends with its process, fails with [outbox.ErrInUse] if another process has it, and is nil where the system has no
// locks.
func takeTurn(s settings) (*aibridged.RecordsLock, error) {
	return lockIn(filepath.Join(s.dataDir, "turn"))
}

// takeDataLock takes the lock of the data directory, whatever the durability of a gateway's records. It is the lock of the
// directory of records, since gateways of earlier versions hold that one. The caller has the turn.
func takeDataLock(s settings) (*aibridged.RecordsLock, error) { return lockIn(s.records()) }

// lockIn takes the lock of a directory. It is nil where the system has none.
func lockIn(directory string) (*aibridged.RecordsLock, error) {
	lock, err := aibridged.LockRecords(directory)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	return lock, err
}

// release gives a lock back, if there is one.
func release(lock *aibridged.RecordsLock) error {
	if lock == nil {
		return nil
	}
	return lock.Release()
}

// holder returns what an error of [lockIn] says of the process that has the lock, without what it advises.
func holder(err error) error { return errors.Unwrap(errors.Unwrap(err)) }
