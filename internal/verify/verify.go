// Package verify holds what is recorded of interceptions against the bytes that were kept of them. It reads the bytes with
// the second decoder, package rederive, and knows of records only what [Records] tells: no database, no wire format of
// records.
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
)

// Verdict is what came of one interception.
type Verdict struct {
	InterceptionID uuid.UUID    `json:"interception_id"`
	Kept           Kept         `json:"kept"`
	Differences    []Difference `json:"differences"` // Never nil.
}

// Kept says how much of an interception was kept.
type Kept string

// What can have been kept.
const (
	NotKept     Kept = "not"
	KeptDamaged Kept = "damaged"
	KeptInPart  Kept = "in part" // At least the request.
	KeptWhole   Kept = "whole"
)

// Difference is a field of a record that is not what the bytes say, or another problem.
type Difference struct {
	Field    string `json:"field"`
	Recorded any    `json:"recorded"`
	Bytes    any    `json:"bytes"`
	Problem  string `json:"problem,omitempty"` // In the place of two values.
}

// Sums are how many interceptions there were of each kind.
type Sums struct {
	Verified int `json:"verified"` // Those that differ included.
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

// Interceptions yields a verdict on each interception that ended at since or later (zero: on all) and before the call, and
// on each that was kept in dir in that time and whose start or end is not recorded. It works while a gateway records and
// keeps. It ends after the first error.
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

// run is one walk through records and files.
type run struct {
	records Records
	dir     string
	since   time.Time
	began   time.Time
	seen    map[uuid.UUID]bool // The interceptions that were kept and have had a verdict.
}

// recorded yields the verdicts on what is recorded, and reports whether more are wanted.
func (r *run) recorded(ctx context.Context, yield func(Verdict, error) bool) (more bool, _ error) {
	for recorded, err := range r.records.Ended(ctx, r.since) {
		if err != nil {
			return false, err
		}
		if recorded.EndedAt.After(r.began) {
			continue // Who follows a busy gateway comes to no end.
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

// verdict holds one interception against its bytes.
func (r *run) verdict(ctx context.Context, recorded Recorded) Verdict {
	rounds, err := r.rounds(ctx, recorded.ID, recorded.EndedAt)
	verdict := Verdict{InterceptionID: recorded.ID, Kept: NotKept, Differences: []Difference{}}
	switch {
	case err != nil:
		verdict.Kept, verdict.Differences = KeptDamaged, []Difference{{Field: "kept exchange", Problem: err.Error()}}
	case len(rounds) > 0:
		account := account{recorded: recorded, rounds: rounds}
		if account.hasRequest() {
			verdict.Kept = account.state()
			verdict.Differences = append(verdict.Differences, account.differences()...)
		}
	}
	return verdict
}

// settle is how long after the end of an interception its bytes may be on their way to the disk.
const settle = 2 * time.Second

// rounds returns the exchanges that were kept of an interception, in their order.
func (r *run) rounds(ctx context.Context, id uuid.UUID, ended time.Time) ([]*kept.Exchange, error) {
	rounds, err := readRounds(r.dir, id)
	wait := min(settle-time.Since(ended), settle)
	if isWhole := len(rounds) > 0 && rounds[len(rounds)-1].End != nil; err != nil || isWhole || wait <= 0 {
		return rounds, err
	}
	select {
	case <-time.After(wait):
		return readRounds(r.dir, id)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func readRounds(dir string, id uuid.UUID) (rounds []*kept.Exchange, err error) {
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

// late is when a record is missing: until then it may be on its way.
const late = time.Minute

// unrecorded yields the verdicts on exchanges whose interceptions have no start or no end among the records.
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
		r.seen[file.Interception] = true
		started, ended, err := r.records.Lookup(ctx, file.Interception)
		problem := "its start is not recorded"
		switch {
		case err != nil:
			return err
		case started && ended:
			continue // It ended before the time that is asked for.
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
