package aibridge

import (
	"net/http"
	"slices"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/upstream"
)

// Memory bounds what the bodies of requests and answers take of the process's memory, together and over all providers
// that share it: the bytes as they came, their decoded copies and the decoders' windows. A request beyond it is answered
// with 503 and Retry-After, while others are served; one whose body is larger than a sixth of it, with 413. The last quarter
// is only for bodies of up to 1 MiB, so that a few large ones do not keep out the many small. It is safe for concurrent use.
type Memory struct{ pool *memory.Pool }

// NewMemory returns a Memory of that many bytes. Zero means a quarter of what the process may use: of the limit of its
// control group, the memory of the machine or GOMEMLIMIT, whichever is least.
func NewMemory(limit int64) *Memory {
	if limit <= 0 {
		limit = memory.Available() / 4
	}
	return &Memory{pool: memory.New(limit)}
}

// Limit returns the bound, in bytes.
func (m *Memory) Limit() int64 { return m.pool.Limit() }

// Used returns how many bytes the bodies in flight take.
func (m *Memory) Used() int64 { return m.pool.Used() }

// Pool returns what lends the memory, for transports of this module that rewrite bodies. It is nil for a nil Memory.
func (m *Memory) Pool() *memory.Pool {
	if m == nil {
		return nil
	}
	return m.pool
}

// Share returns the providers; those that were given no Memory share m.
func (m *Memory) Share(providers []Provider) []Provider {
	sharing := slices.Clone(providers)
	for i := range sharing {
		if sharing[i].memory == nil {
			sharing[i].memory = m.pool
		}
	}
	return sharing
}

// noTurn returns the refusal of a request that did not get its turn.
func noTurn(err error) *apierror.Error {
	if refusal := upstream.NoMemory(err); refusal != nil {
		return refusal
	}
	return &apierror.Error{Status: http.StatusBadRequest, Text: "the client left", Cause: err}
}
