package aibridged

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/recording"
	"github.com/coder/aibridged/proto"
)

// stuckFiles is a disk whose syncs do not return until it is released.
type stuckFiles struct {
	outbox.FileSystem

	mu    sync.Mutex
	stuck chan struct{} // Nil: it works.
}

func (f *stuckFiles) set(stuck chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stuck = stuck
}

func (f *stuckFiles) Open(path string, flags int) (outbox.File, error) {
	opened, err := f.FileSystem.Open(path, flags)
	return stuckFile{opened, f}, err
}

type stuckFile struct {
	outbox.File

	files *stuckFiles
}

func (f stuckFile) Sync() error {
	f.files.mu.Lock()
	stuck := f.files.stuck
	f.files.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	return f.File.Sync()
}

// neverClient is a control plane's client that is never asked.
type neverClient struct{ proto.DRPCRecorderClient }

// TestShutdownBehindStuckSync has a disk whose sync never returns, while records wait for it, or a request does, or a
// control plane that never returns: Shutdown ends a moment after its deadline, and says why.
func TestShutdownBehindStuckSync(t *testing.T) {
	for _, stuckIn := range []string{"sync", "request", "control plane"} {
		dir := filepath.Join(t.TempDir(), "records")
		synctest.Test(t, func(t *testing.T) {
			files := &stuckFiles{FileSystem: outbox.Disk()}
			records, err := recording.Open(recording.Options{Directory: dir, Files: files})
			if err != nil {
				t.Fatal(err)
			}
			stuck := make(chan struct{})
			records.Deliver(func(ctx context.Context) (proto.DRPCRecorderClient, error) {
				if stuckIn == "control plane" {
					<-stuck
				}
				<-ctx.Done()
				return neverClient{}, ctx.Err()
			})
			s := &Server{pool: idlePool{}, records: records, changed: make(chan struct{}), closed: make(chan struct{})}
			s.dialing, s.stopDial = context.WithCancel(t.Context())
			s.serving, s.stopServe = context.WithCancelCause(t.Context())
			s.attached, s.detach = context.WithCancel(t.Context())
			s.connected, s.disconnect = context.WithCancel(t.Context())
			defer s.disconnect()
			if stuckIn != "control plane" {
				files.set(stuck)
			}
			commit, err := records.Record(t.Context(), &aibridge.InterceptionStart{ID: uuid.New(), InitiatorID: uuid.NewString(), StartedAt: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			if stuckIn == "request" {
				_, _, done, _ := s.enter(t.Context())
				go func() {
					defer done()
					_ = commit.Wait(context.Background()) // As a handler does that cannot be cancelled.
				}()
			}
			time.Sleep(time.Second) // Until the record is being delivered, where it can be.
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			began := time.Now()
			err = s.Shutdown(ctx)
			if took := time.Since(began); took > 5*time.Second+3*stuckGrace {
				t.Errorf("Shutdown took %v", took)
			}
			if err == nil || !strings.Contains(err.Error(), "does not answer") {
				t.Errorf("Shutdown: %v", err)
			}
			close(stuck)
			synctest.Wait() // All that hung ends.
		})
	}
}

// idlePool has nothing to shut down.
type idlePool struct{ Pooler }

func (idlePool) Shutdown(context.Context) error { return nil }
