// Package verify compares the records of interceptions with the bytes that were kept of them. It reads the bytes with
// the second decoder, package rederive, and the records through [Records]; it knows neither databases nor a wire format
// of records.
//
//	for verdict, err := range verify.Interceptions(ctx, records, dir, since) {
//		…
//		sums.Add(verdict)
//	}
package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/rederive"
)

// Verdict is the result for one interception.
type Verdict struct {
	InterceptionID uuid.UUID    `json:"interception_id"`
	Kept           Kept         `json:"kept"`
	Differences    []Difference `json:"differences"` // Never nil.

	// ProviderName and Model are those of the records, and Unread is what no decoder reads of the kept answers.
	ProviderName string          `json:"-"`
	Model        string          `json:"-"`
	Unread       rederive.Unread `json:"-"`
}

// Kept says how much of an interception was kept.
type Kept string

// The values of Kept.
const (
	NotKept     Kept = "not"
	KeptDamaged Kept = "damaged"
	KeptInPart  Kept = "in part" // At least the request was kept.
	KeptWhole   Kept = "whole"
)

// Difference is a field of a record that differs from the bytes, or another problem.
type Difference struct {
	Field    string `json:"field"`
	Recorded any    `json:"recorded"`
	Bytes    any    `json:"bytes"`
	Problem  string `json:"problem,omitempty"` // Takes the place of the two values.
}

// Sums count interceptions by the kind of their verdict.
type Sums struct {
	Verified int `json:"verified"` // Including those that differ.
	InPart   int `json:"verified_in_part"`
	Differ   int `json:"differ"`
	NotKept  int `json:"without_kept_bytes"`
}

// Add counts a verdict.
func (s *Sums) Add(v Verdict) {
	switch v.Kept {
	case NotKept:
		s.NotKept++
	case KeptInPart:
		s.InPart++
		s.Verified++
	default:
		s.Verified++
	}
	if len(v.Differences) > 0 {
		s.Differ++
	}
}

// Interceptions yields a verdict on each interception that ended at since or later and before the call; a zero since
// means all. It also yields one on each interception that was kept in dir in that time and whose start or end is not
// recorded. It can run while a gateway records and keeps. It ends after the first error.
func Interceptions(ctx context.Context, records Records, dir string, since time.Time) iter.Seq2[Verdict, error] {
	return func(yield func(Verdict, error) bool) {
		r := run{records: records, dir: dir, since: since, began: time.Now(), seen: map[uuid.UUID]bool{}}
		if more, err := r.recorded(ctx, yield); err != nil {
			yield(Verdict{}, err)
			return
		} else if !more {
			return
		}
		if err := r.unrecorded(ctx, yield); err != nil {
			yield(Verdict{}, err)
		}
	}
}

// run is one pass over the records and the files.
type run struct {
	records Records
	dir     string
	since   time.Time
	began   time.Time
	seen    map[uuid.UUID]bool // The kept interceptions that have had a verdict.
}

// recorded yields the verdicts on recorded interceptions, and reports whether the caller wants more.
func (r *run) recorded(ctx context.Context, yield func(Verdict, error) bool) (more bool, _ error) {
	for recorded, err := range r.records.Ended(ctx, r.since) {
		if err != nil {
			return false, err
		}
		if recorded.EndedAt.After(r.began) {
			continue // Otherwise a busy gateway would keep this loop running for ever.
		}
		verdict := r.verdict(ctx, recorded)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if verdict.Kept != NotKept {
			r.seen[recorded.ID] = true
		}
		if !yield(verdict, nil) {
			return false, nil
		}
	}
	return true, nil
}

// verdict compares one interception with its bytes.
func (r *run) verdict(ctx context.Context, recorded Recorded) Verdict {
	rounds, err := r.rounds(ctx, recorded)
	return Compare(recorded, rounds, err)
}

// Compare returns the verdict on an interception that has ended, from what [Rounds] returned of it.
func Compare(recorded Recorded, rounds []*kept.Exchange, err error) Verdict {
	verdict := Verdict{
		InterceptionID: recorded.ID, Kept: NotKept, Differences: []Difference{},
		ProviderName: recorded.ProviderName, Model: recorded.Facts.Model,
	}
	switch {
	case err != nil:
		verdict.Kept, verdict.Differences = KeptDamaged, []Difference{{Field: "kept exchange", Problem: err.Error()}}
	case len(rounds) > 0:
		account := account{recorded: recorded, rounds: rounds}
		if account.hasRequest() {
			verdict.Kept = account.state()
			verdict.Differences = append(verdict.Differences, account.differences()...)
			verdict.Unread = account.unread
		}
	}
	return verdict
}

// settle is how long the bytes of an interception may take to reach the disk after its end.
const settle = 2 * time.Second

// rounds returns the kept exchanges of an interception, in their order.
func (r *run) rounds(ctx context.Context, recorded Recorded) ([]*kept.Exchange, error) {
	rounds, err := Rounds(r.dir, recorded.ID)
	wait := min(settle-time.Since(recorded.EndedAt), settle)
	of := account{recorded: recorded, rounds: rounds}
	if err != nil || of.isComplete() || wait <= 0 {
		return rounds, err
	}
	select {
	case <-time.After(wait):
		return Rounds(r.dir, recorded.ID)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Rounds returns the kept exchanges of an interception, in their order, and with an error those before the one that cannot be
// read.
func Rounds(dir string, id uuid.UUID) (rounds []*kept.Exchange, err error) {
	for {
		exchange, err := kept.ReadFile(dir, id, len(rounds))
		if errors.Is(err, fs.ErrNotExist) {
			return rounds, nil
		}
		if err != nil {
			return rounds, fmt.Errorf("round %d: %w", len(rounds), err)
		}
		rounds = append(rounds, exchange)
	}
}

// late is the age of a file from which a missing record counts as missing: before that it may still be delivered.
const late = time.Minute

// lateTools is the same for the end of an interception whose gateway has run tools since then.
const lateTools = time.Hour

// standing reports whether no later round of its interception is kept beside a file, and whether the file's answer has the
// gateway run tools.
func (r *run) standing(file kept.File) (isLast, awaited bool) {
	rounds, err := Rounds(r.dir, file.Interception)
	if err != nil {
		return true, false // It is damaged, and the last that can be read.
	}
	a := account{rounds: rounds}
	derived, err := a.derive(a.keptLength())
	return len(rounds) == file.Round+1, err == nil && derived.Runs
}

// unrecorded yields the verdicts on kept exchanges whose interceptions have no start or no end among the records.
func (r *run) unrecorded(ctx context.Context, yield func(Verdict, error) bool) error {
	now := time.Now()
	for file, err := range kept.Files(r.dir) {
		if err != nil {
			return fmt.Errorf("list exchanges: %w", err)
		}
		isDue := file.Finished && !file.Written.Before(r.since) && now.Sub(file.Written) > late
		if !isDue || r.seen[file.Interception] {
			continue
		}
		started, ended, err := r.records.Lookup(ctx, file.Interception)
		switch {
		case err != nil:
			return err
		case started && ended:
			r.seen[file.Interception] = true // It ended before since.
			continue
		}
		isLast, awaited := r.standing(file)
		if !isLast {
			continue
		}
		r.seen[file.Interception] = true
		problem := "its start is not recorded"
		switch {
		case started && awaited && now.Sub(file.Written) <= lateTools:
			continue
		case started:
			problem = "its end is not recorded"
		}
		differences := []Difference{{Field: "interception", Problem: problem}}
		if !yield(Verdict{InterceptionID: file.Interception, Kept: KeptWhole, Differences: differences}, nil) {
			return nil
		}
	}
	return nil
}
