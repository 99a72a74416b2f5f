package verify

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/rederive"
)

// Records is where interceptions are recorded.
type Records interface {
	// Ended yields what is recorded of the interceptions that ended at since or later, or of all that ended where since
	// is zero. It ends after the first error.
	Ended(ctx context.Context, since time.Time) iter.Seq2[Recorded, error]
	// Lookup says whether start and end of an interception are recorded.
	Lookup(ctx context.Context, id uuid.UUID) (started, ended bool, err error)
}

// Recorded is what is recorded of one interception, as far as bytes can tell it.
type Recorded struct {
	ID      uuid.UUID
	EndedAt time.Time
	// Facts has the numbers in metadata as float64. Of several prompts it has one.
	Facts rederive.Facts
	// Prompts is how many prompts are recorded. More than one is a difference.
	Prompts int
	// CredentialHint stands in an error message where the upstream repeated the key. Empty: there is none.
	CredentialHint string

	Request, Response Body

	// Unreadable is why a part of this could not be read. Where it is not nil, nothing else is compared.
	Unreadable error
}

// Body is what is recorded of a body: its size and the hexadecimal SHA-256. What is nil is not recorded.
type Body struct {
	Bytes  *int64
	SHA256 *string
}
