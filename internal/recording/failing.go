package recording

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/internal/rpcstatus"
	"github.com/coder/aibridged/internal/storable"
)

const (
	// failingPatience is how long records may not be taken before the queue is not ready.
	failingPatience = time.Minute
	// reasonBytes is how much of a reason is told.
	reasonBytes = 200
)

// failing knows since when a control plane that answers has not taken records. That the control plane is away is
// something else: the queue is there for that. It is safe for concurrent use.
type failing struct {
	mu    sync.Mutex
	since time.Time // Zero: it takes them.
	why   error     // Of the latest try.
}

// note notes how a try ended.
func (f *failing) note(failures []outbox.Failure, err error) {
	if away(err) {
		err = nil
	}
	for _, failure := range failures {
		if !failure.Permanent && err == nil && !away(failure.Err) {
			err = failure.Err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		f.since = time.Time{}
	case f.since.IsZero():
		f.since = time.Now()
	}
	f.why = err
}

// away reports whether an error says that no control plane answered. One that failed within itself did.
func away(err error) bool {
	switch drpcerr.Code(err) {
	case rpcstatus.Internal, rpcstatus.Unimplemented:
		return false
	}
	return err != nil && rpcstatus.IsUnavailable(err)
}

// ready returns an error of one line if records have not been taken for too long.
func (f *failing) ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() || time.Since(f.since) < failingPatience {
		return nil
	}
	why := strings.Join(strings.Fields(f.why.Error()), " ")
	return fmt.Errorf("they cannot be stored for %v: %s", time.Since(f.since).Round(time.Second), storable.Cut(why, reasonBytes))
}
