package verify

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/rederive"
)

// Records reads the records of interceptions.
type Records interface {
	// Ended yields what is recorded of the interceptions that ended at since or later, or of all that ended where since
	// is zero. It ends after the first error.
	Ended(ctx context.Context, since time.Time) iter.Seq2[Recorded, error]
	// Lookup says whether the start and the end of an interception are recorded.
	Lookup(ctx context.Context, id uuid.UUID) (started, ended bool, err error)
}

// Recorded is the part of an interception's records that can be compared with bytes.
type Recorded struct {
	ID      uuid.UUID
	EndedAt time.Time
	// ProviderName is the name of the provider that was asked.
	ProviderName string
	// Facts has the numbers in metadata as float64. Of several prompts it has only one.
	Facts rederive.Facts
	// Prompts is how many prompts are recorded. More than one is a difference.
	Prompts int
	// CredentialHint takes the place of the key in an error message where the upstream repeated the key. Empty: there
	// is none.
	CredentialHint string

	Request, Response Body

	// Unreadable is the reason why part of the records could not be read. If it is set, nothing else is compared.
	Unreadable error
}

// Body is what is recorded of a body: its size and its hexadecimal SHA-256. A nil field is not recorded.
type Body struct {
	Bytes  *int64
	SHA256 *string
}
