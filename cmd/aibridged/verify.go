package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/kept"
)

const verifyHelp = `verify reads the exchanges that serve --keep-exchanges has kept, and works out again, with a decoder of
its own, what should have been recorded of each: model, client, session, user agent, the tool call that
it answers, the prompt, every token usage, tool call and thought, how it ended, and the size and SHA-256
of both bodies. It prints each difference to what is recorded, and ends with status 1 if there is one.
It works while serve runs.

An interception is also reported if its kept bytes are damaged, and if there are bytes of which no start
or no end was recorded. One without kept bytes is only counted: it was made before serve kept any, its
bytes have become too old, or the disk did not keep up, of which serve has written a log line.

What the bytes of a client's request and an upstream's answer cannot tell:
  - who asked, when, with which credential, and of which provider;
  - why the gateway left an answer before its end: its client stopped reading, or it was shut down;
  - who was first where the client left and the upstream broke off at the same time;
  - what came after the last piece that was written of an exchange in which the gateway was killed: of
    such an interception, only what was recorded before the answer is compared;
  - whether an error message is the upstream's where that had no words for it, or repeated the key.`

// errDiffer is how verify ends where a record is not what the bytes say.
var errDiffer = errors.New("some records are not what the kept bytes say")

func newVerifyCommand(s *settings) *cobra.Command {
	var (
		dir    string
		since  time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify --exchanges DIR",
		Short: "Hold the records against the bytes that serve has kept; works while serve runs",
		Long:  verifyHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			if since < 0 {
				return fmt.Errorf("--since must not be negative")
			}
			if _, err := os.Stat(dir); err != nil {
				return fmt.Errorf("exchanges: %w; name the directory that serve has for --keep-exchanges", err)
			}
			v := verifier{dir: dir, report: newVerdictText(cmd.OutOrStdout())}
			if asJSON {
				v.report = newVerdictJSON(cmd.OutOrStdout())
			}
			if since > 0 {
				v.since = time.Now().Add(-since)
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				v.store = store
				return v.run(cmd.Context())
			})
		},
	}
	cmd.Flags().StringVar(&dir, "exchanges", "", "the directory that serve has for --keep-exchanges")
	cmd.Flags().DurationVar(&since, "since", 0, "only interceptions that ended within this time, for example 24h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line for each interception, and one with the sums")
	_ = cmd.MarkFlagRequired("exchanges") // The flag is defined above.
	return cmd
}

// verdictWriter writes what came of interceptions.
type verdictWriter interface {
	verdict(verdict) error
	sums(sums) error
}

// verdict is what came of one interception.
type verdict struct {
	InterceptionID string       `json:"interception_id"`
	Kept           keptState    `json:"kept"`
	Differences    []difference `json:"differences"` // Never nil.
}

// keptState says how much of an interception was kept.
type keptState string

const (
	keptNot     keptState = "not"
	keptDamaged keptState = "damaged"
	keptInPart  keptState = "in part" // At least the request.
	keptWhole   keptState = "whole"
)

// difference is a field of a record that is not what the bytes say, or another problem.
type difference struct {
	Field    string `json:"field"`
	Recorded any    `json:"recorded"`
	Bytes    any    `json:"bytes"`
	Problem  string `json:"problem,omitempty"` // In the place of two values.
}

// sums are how many interceptions there were of each kind.
type sums struct {
	Verified int `json:"verified"` // Those that differ included.
	InPart   int `json:"verified_in_part"`
	Differ   int `json:"differ"`
	NotKept  int `json:"without_kept_bytes"`
}

// verifier holds the interceptions of a store against the exchanges in a directory.
type verifier struct {
	store  *store
	dir    string
	since  time.Time // Zero: all that are there.
	report verdictWriter
	counts sums
}

func (v *verifier) run(ctx context.Context) error {
	began := time.Now()
	seen := map[uuid.UUID]bool{} // Of those that were kept.
	for interception, err := range v.store.Interceptions(ctx, aibridgedserver.InterceptionFilter{EndedSince: v.since}) {
		if err != nil {
			return err
		}
		if interception.EndedAt == nil || interception.EndedAt.After(began) {
			continue // Who follows a busy gateway comes to no end.
		}
		id, err := uuid.Parse(interception.ID)
		if err != nil {
			return fmt.Errorf("interception %s: %w", interception.ID, err)
		}
		result := v.verify(ctx, id, interception)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if result.Kept != keptNot {
			seen[id] = true
		}
		if err := v.tell(result); err != nil {
			return err
		}
	}
	if err := v.unrecorded(ctx, seen); err != nil {
		return err
	}
	if err := v.report.sums(v.counts); err != nil {
		return err
	}
	if v.counts.Differ > 0 {
		return errDiffer
	}
	return nil
}

// tell counts a verdict and writes it.
func (v *verifier) tell(result verdict) error {
	switch result.Kept {
	case keptNot:
		v.counts.NotKept++
	case keptInPart:
		v.counts.InPart++
		v.counts.Verified++
	default:
		v.counts.Verified++
	}
	if len(result.Differences) > 0 {
		v.counts.Differ++
	}
	return v.report.verdict(result)
}

// verify holds one interception against its bytes.
func (v *verifier) verify(ctx context.Context, id uuid.UUID, recorded *aibridgedserver.Interception) verdict {
	rounds, err := v.rounds(ctx, id, *recorded.EndedAt)
	result := verdict{InterceptionID: recorded.ID, Kept: keptNot, Differences: []difference{}}
	switch {
	case err != nil:
		result.Kept, result.Differences = keptDamaged, []difference{{Field: "kept exchange", Problem: err.Error()}}
	case len(rounds) > 0:
		account := account{recorded: recorded, rounds: rounds}
		if account.hasRequest() {
			result.Kept = account.state()
			result.Differences = append(result.Differences, account.differences()...)
		}
	}
	return result
}

// settle is how long after the end of an interception its bytes may be on their way to the disk.
const settle = 2 * time.Second

// rounds returns the exchanges that were kept of an interception, in their order.
func (v *verifier) rounds(ctx context.Context, id uuid.UUID, ended time.Time) ([]*kept.Exchange, error) {
	rounds, err := readRounds(v.dir, id)
	wait := min(settle-time.Since(ended), settle)
	if isWhole := len(rounds) > 0 && rounds[len(rounds)-1].End != nil; err != nil || isWhole || wait <= 0 {
		return rounds, err
	}
	select {
	case <-time.After(wait):
		return readRounds(v.dir, id)
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

// unrecorded finds the exchanges whose interceptions have no start or no end among the records.
func (v *verifier) unrecorded(ctx context.Context, seen map[uuid.UUID]bool) error {
	now := time.Now()
	for file, err := range kept.Files(v.dir) {
		if err != nil {
			return fmt.Errorf("list exchanges: %w", err)
		}
		isDue := file.Finished && !file.Written.Before(v.since) && now.Sub(file.Written) > late
		if !isDue || seen[file.Interception] {
			continue
		}
		seen[file.Interception] = true
		problem, err := v.missing(ctx, file.Interception)
		if err != nil {
			return err
		}
		if problem == "" {
			continue // It ended before the time that is asked for.
		}
		err = v.tell(verdict{InterceptionID: file.Interception.String(), Kept: keptWhole, Differences: []difference{
			{Field: "interception", Problem: problem},
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// missing says which record an interception lacks, or nothing.
func (v *verifier) missing(ctx context.Context, id uuid.UUID) (string, error) {
	for interception, err := range v.store.Interceptions(ctx, aibridgedserver.InterceptionFilter{ID: id.String()}) {
		switch {
		case err != nil:
			return "", err
		case interception.EndedAt == nil:
			return "its end is not recorded", nil
		}
		return "", nil
	}
	return "its start is not recorded", nil
}
