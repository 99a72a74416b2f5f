package aibridgedserver_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// TestFault047RevokedWhileAuthorized authorises tokens from many goroutines while another control plane on the same
// database revokes them. No request is authorised that begins more than 100 ms after a revocation has ended, and none
// is refused that ends before the revocation begins.
func TestFault047RevokedWhileAuthorized(t *testing.T) {
	t.Parallel()
	const (
		rounds  = 10_000
		longest = 10 * time.Second // For the race detector on a busy machine.
	)
	c := newControlPlaneInMemory(t)
	elsewhere := openControlPlane(t, c.path, aibridgedserver.Options{})
	var (
		tokens = make([]racedToken, rounds)
		made   atomic.Int64 // Tokens below this index are in use.
		done   atomic.Bool
		users  sync.WaitGroup
		tally  [2]atomic.Int64 // Of refusals and authorisations.
	)
	for range 2 {
		users.Go(func() {
			for !done.Load() {
				if n := int(made.Load()); n > 0 {
					token := &tokens[n-1-rand.IntN(min(n, 1000))]
					tally[token.use(t, c)].Add(1)
				}
			}
		})
	}
	began := time.Now()
	for n := 0; n < rounds && time.Since(began) < longest; n++ {
		text, key := elsewhere.token(t, "alice")
		tokens[n].text = text
		made.Add(1)
		tokens[n].use(t, c)
		tokens[n].revoking.Store(time.Now().UnixNano())
		if err := elsewhere.RevokeToken(t.Context(), key.ID); err != nil {
			t.Error(err)
		}
		tokens[n].revoked.Store(time.Now().UnixNano())
	}
	<-time.After(2 * belief) // In this time, more requests use tokens that have been revoked for long enough.
	done.Store(true)
	users.Wait()
	t.Logf("%d tokens, %d times refused, %d let in", made.Load(), tally[0].Load(), tally[1].Load())
}

// newControlPlaneInMemory returns a control plane whose syncs take no time, if the system has a directory in memory.
func newControlPlaneInMemory(t *testing.T) controlPlane {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "control-")
	if err != nil {
		return newControlPlane(t)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return openControlPlane(t, filepath.Join(dir, "control.db"), aibridgedserver.Options{})
}

// racedToken is a token, and the times at which its revocation began and ended, in nanoseconds since 1970. Zero: not
// yet.
type racedToken struct {
	text              string
	revoking, revoked atomic.Int64
}

// use authorises the token, and returns 1 if that succeeded.
func (r *racedToken) use(t *testing.T, c controlPlane) int {
	revoked, began := r.revoked.Load(), time.Now().UnixNano()
	_, err := c.IsAuthorized(t.Context(), &proto.IsAuthorizedRequest{Key: r.text})
	revoking := r.revoking.Load()
	switch {
	case err == nil && revoked != 0 && began-revoked > int64(belief):
		t.Errorf("let in %v after its revocation", time.Duration(began-revoked))
	case err != nil && revoking == 0:
		t.Errorf("refused before its revocation: %v", err)
	}
	if err != nil {
		return 0
	}
	return 1
}
