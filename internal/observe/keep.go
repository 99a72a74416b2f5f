package observe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/kept"
)

const (
	// maxKeeping is how many exchanges may be in memory or being written at the same time, including those under way.
	maxKeeping = 1 << 14
	// keepPiece is how much of an answer is collected before it is handed to the writer.
	keepPiece = 64 << 10
)

// Keeper is a RoundTripper that keeps the exchanges of interceptions, so that their records can be compared with the
// bytes that they were made from. It writes the client's request and the upstream's answer, both whole, to one file for
// each upstream request that comes through [Send]. Package kept describes the file. Its mode is 0600.
// Credentials are redacted, in whatever header they stand; in bodies they are not. It is safe for concurrent use.
//
// Keeping never delays a request. The Keeper copies bodies while they pass, and a goroutine compresses and writes them.
// A file grows under another name while its exchange goes on. Where the writer falls behind, or the disk fails, the
// exchange is dropped and its file removed, with a log line at most once a minute. Files are not synced: what was
// written survives the end of the process, but perhaps not a crash of the machine.
type Keeper struct {
	next   http.RoundTripper
	dir    string
	budget *budget
	// keeping counts the exchanges that were admitted and that the writer has not finished. It never exceeds the room
	// of the writer's queue, so that no exchange waits for room.
	keeping atomic.Int64
	writer  *background[*keeping]
	losses  *losses

	stopSweeping context.CancelFunc
	sweeper      sync.WaitGroup
}

// Keep returns a Keeper in front of next. It removes files that are older than age, at once and from time to time. It
// makes dir, of mode 0700, and fails where it cannot. Exchanges may hold that many bytes of memory until they are
// written. The caller must call Close.
func Keep(next http.RoundTripper, dir string, age time.Duration, held int, logger slog.Logger) (*Keeper, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of kept exchanges: %w", err)
	}
	encoder, err := kept.NewEncoder()
	if err != nil {
		return nil, err
	}
	losses := &losses{logger: logger, message: "exchanges were not kept", dir: dir}
	w := keepWriter{encoder: encoder, losses: losses}
	ctx, stop := context.WithCancel(context.Background())
	k := &Keeper{
		next:         next,
		dir:          dir,
		budget:       &budget{left: held},
		writer:       newBackground(maxKeeping, w.write, losses.tellNow),
		losses:       losses,
		stopSweeping: stop,
	}
	k.sweeper.Go(func() { sweep(ctx, dir, age, logger) })
	return k, nil
}

// Close waits until everything copied so far is written. Exchanges that end later are kept only up to that point. It
// can be called more than once.
func (k *Keeper) Close() {
	k.stopSweeping()
	k.sweeper.Wait()
	k.writer.close()
}

func (*Keeper) watches() bool { return true }

// RoundTrip implements [http.RoundTripper].
func (k *Keeper) RoundTrip(r *http.Request) (*http.Response, error) { return k.keep(k.next, r) }

// Around returns a RoundTripper that keeps with k the exchanges that go through next. It lives no longer than k.
func (k *Keeper) Around(next http.RoundTripper) http.RoundTripper { return keeperAround{k, next} }

type keeperAround struct {
	keeper *Keeper
	next   http.RoundTripper
}

func (keeperAround) watches() bool { return true }

// RoundTrip implements [http.RoundTripper].
func (a keeperAround) RoundTrip(r *http.Request) (*http.Response, error) {
	return a.keeper.keep(a.next, r)
}

// keep sends a request through next, and keeps the exchange.
func (k *Keeper) keep(next http.RoundTripper, r *http.Request) (*http.Response, error) {
	interception, ok := told(r)
	if !ok || k.writer.closed() {
		return next.RoundTrip(r)
	}
	e := k.begin(r, interception)
	resp, err := next.RoundTrip(r)
	switch {
	case e == nil:
	case err != nil:
		e.failed(err)
	case resp.Body == http.NoBody:
		e.answered(resp)
		e.note(nil, io.EOF)
	default:
		e.answered(resp)
		resp.Body = &tappedBody{ReadCloser: resp.Body, note: e.note, closed: e.left}
	}
	return resp, err
}

// sweepEvery returns the pause between two sweeps.
func sweepEvery(age time.Duration) time.Duration { return max(time.Minute, min(age/10, time.Hour)) }

// sweep removes old files until ctx ends.
func sweep(ctx context.Context, dir string, age time.Duration, logger slog.Logger) {
	ticker := time.NewTicker(sweepEvery(age))
	defer ticker.Stop()
	for {
		removed, err := kept.Sweep(ctx, dir, time.Now().Add(-age))
		if err != nil {
			logger.Warn(ctx, "old exchanges were not removed", slog.F("dir", dir), slog.Error(err))
		}
		if removed > 0 {
			logger.Debug(ctx, "old exchanges were removed", slog.F("dir", dir), slog.F("removed", removed))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
