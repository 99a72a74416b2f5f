package outbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cdr.dev/slog/v3"
)

// maxTakeBack is how many entries are taken back at a time.
const maxTakeBack = 256

func (q *Queue) retryDir() string { return filepath.Join(q.dir, "retry") }

// Resend moves the dead entries of the queue in a directory back, and returns how many. They are delivered again,
// behind all others. The queue may be open meanwhile, here or in another process, which looks for them every second;
// else they wait for the next Open.
func Resend(dir string) (int, error) { return resend(disk{}, dir) }

// Resend moves the dead entries of this queue back, as the function does for a directory. Entries of a queue in Memory
// can be sent again only in this way.
func (q *Queue) Resend() (int, error) {
	if q.options.Durability != Memory {
		return resend(q.files, q.dir)
	}
	q.mu.Lock()
	graves, bytes := q.graves, q.graveBytes
	q.graves, q.graveBytes = nil, 0
	q.mu.Unlock()
	entries := make([][]byte, len(graves))
	for n, g := range graves {
		entries[n] = g.payload
	}
	if _, err := q.add(addition{entries: entries, kind: resent}); err != nil {
		q.mu.Lock()
		q.graves, q.graveBytes = append(graves, q.graves...), bytes+q.graveBytes
		q.mu.Unlock()
		return 0, err
	}
	return len(entries), nil
}

func resend(files fileSystem, dir string) (moved int, err error) {
	dead, retry := filepath.Join(dir, "dead"), filepath.Join(dir, "retry")
	names, err := files.List(dead, 0)
	if err != nil {
		return 0, explain(dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasSuffix(name, deadSuffix) {
			continue
		}
		if err := files.Rename(filepath.Join(dead, name), filepath.Join(retry, name)); err != nil {
			return moved, explain(dir, err)
		}
		moved++
	}
	return moved, nil
}

// lookAround does what is due every second.
func (q *Queue) lookAround(ctx context.Context) {
	if q.options.Durability != Memory {
		q.checkNames()
		q.buryAgain()
		q.takeBack(ctx)
	}
}

// takeBack appends the entries that were moved to retry/. A file stays there until its entry is durable in the log; if
// it cannot be removed then, this Queue does not append it again. The caller is the consumer, or the only user of the
// queue.
func (q *Queue) takeBack(ctx context.Context) {
	names, err := q.files.List(q.retryDir(), maxTakeBack)
	if err != nil {
		q.complain("dead records cannot be taken back", err)
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	commits := make(map[string]Commit)
	for _, name := range names {
		if _, known := q.taken[name]; known || !strings.HasSuffix(name, deadSuffix) {
			continue
		}
		commit, err := q.takeBackFile(ctx, name)
		if err == nil {
			commits[name], q.taken[name] = commit, false
			continue
		}
		q.complain("a dead record cannot be taken back", err)
		if errors.Is(err, ErrFull) || errors.Is(err, ErrFailed) || errors.Is(err, ErrClosed) {
			break // The others would fail, too.
		}
	}
	for name, commit := range commits {
		q.taken[name] = commit.Wait(ctx) == nil
	}
	for name, durable := range q.taken {
		if !durable {
			continue
		}
		if err := q.files.Remove(filepath.Join(q.retryDir(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			q.complain("a dead record was taken back and cannot be removed: a restart sends it again", err)
			continue
		}
		delete(q.taken, name)
	}
	q.recountDead()
}

// takeBackFile appends the entry of a file in retry/. A damaged file is set aside.
func (q *Queue) takeBackFile(ctx context.Context, name string) (Commit, error) {
	path := filepath.Join(q.retryDir(), name)
	entry, err := q.readDeadAt(path)
	if err == nil {
		return q.add(addition{entries: [][]byte{entry}, kind: resent})
	}
	if !errors.Is(err, errNoDead) && !errors.Is(err, errNotRegular) {
		return Commit{}, fmt.Errorf("%s: %w", path, err)
	}
	q.taken[name] = false
	q.mu.Lock()
	q.stats.Damaged++
	q.mu.Unlock()
	q.logger.Warn(ctx, "dead record damaged: it cannot be sent again", slog.F("file", path), slog.Error(err))
	if err := q.files.Rename(path, filepath.Join(q.damagedDir(), name)); err != nil {
		return Commit{}, err
	}
	return Commit{}, nil
}

// readDeadAt returns the entry in a file.
func (q *Queue) readDeadAt(path string) ([]byte, error) {
	from, err := q.files.Open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	return readDead(from)
}

// recountDead counts the files in dead/ again, since others may have moved some.
func (q *Queue) recountDead() {
	dead, err := q.countDead()
	if err != nil {
		q.complain("dead records cannot be counted", err)
		return
	}
	q.mu.Lock()
	q.stats.Dead = dead
	q.mu.Unlock()
}
