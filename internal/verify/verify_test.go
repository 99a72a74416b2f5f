package verify

import (
	"context"
	"errors"
	"iter"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/internal/kept"
	"github.com/coder/aibridged/internal/rederive"
)

// memory holds the records of interceptions that have ended, and the ids of others that have begun.
type memory struct {
	ended   []Recorded
	started []uuid.UUID
	err     error // Ended yields it last, and Lookup returns it.
}

func (m memory) Ended(_ context.Context, since time.Time) iter.Seq2[Recorded, error] {
	return func(yield func(Recorded, error) bool) {
		for _, recorded := range m.ended {
			if !recorded.EndedAt.Before(since) && !yield(recorded, nil) {
				return
			}
		}
		if m.err != nil {
			yield(Recorded{}, m.err)
		}
	}
}

func (m memory) Lookup(_ context.Context, id uuid.UUID) (started, ended bool, err error) {
	for _, recorded := range m.ended {
		if recorded.ID == id {
			return true, true, m.err
		}
	}
	for _, begun := range m.started {
		if begun == id {
			return true, false, m.err
		}
	}
	return false, false, m.err
}

// keepRound writes the file of an interception's round, and sets the file's age.
func keepRound(t *testing.T, dir string, id uuid.UUID, e *kept.Exchange, age time.Duration) {
	t.Helper()
	encoder, err := kept.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	e.Head.Interception = id
	head, headErr := kept.HeadSection(e.Head)
	answer, answerErr := kept.AnswerSection(*e.Answer)
	end, endErr := kept.EndSection(*e.End)
	if err := errors.Join(headErr, answerErr, endErr); err != nil {
		t.Fatal(err)
	}
	name, _ := kept.Path(dir, id, e.Head.Round)
	file := encoder.Append(nil, head, kept.RequestSection(e.Request), answer, kept.ResponseSection(e.Response), end)
	at := time.Now().Add(-age)
	if err := errors.Join(os.WriteFile(name, file, 0o600), os.Chtimes(name, at, at)); err != nil {
		t.Fatal(err)
	}
}

// TestInterceptions has an interception of each kind that a pass over records and files can meet.
func TestInterceptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stop = "data: {\"type\":\"message_stop\"}\n\n"
		dir, records, want := t.TempDir(), memory{}, map[uuid.UUID]string{}
		begin := func(verdict string) uuid.UUID {
			id := uuid.Must(uuid.NewV7())
			want[id] = verdict
			return id
		}
		round := func() *kept.Exchange { return keptRound(stop, kept.End{Ending: kept.Whole}) }
		record := func(id uuid.UUID, ended time.Duration, change func(*Recorded)) {
			recorded := recordedOf("", round())
			recorded.ID, recorded.EndedAt = id, time.Now().Add(ended)
			change(&recorded)
			records.ended = append(records.ended, recorded)
		}
		asItWas := func(*Recorded) {}

		id := begin("whole")
		keepRound(t, dir, id, round(), time.Hour)
		record(id, -time.Hour, asItWas)
		id = begin("whole model")
		keepRound(t, dir, id, round(), time.Hour)
		record(id, -time.Hour, func(r *Recorded) { r.Facts.Model = "other" })
		record(begin("not"), -time.Second, asItWas) // Verify waits for its file in vain.
		id = begin("damaged kept exchange")
		keepRound(t, dir, id, round(), time.Hour)
		record(id, -time.Hour, asItWas)
		name, _ := kept.Path(dir, id, 0)
		if err := os.Truncate(name, 30); err != nil {
			t.Fatal(err)
		}
		keepRound(t, dir, begin("whole interception"), round(), time.Hour) // It has no start.
		id = begin("whole interception")
		keepRound(t, dir, id, round(), time.Hour)
		records.started = []uuid.UUID{id} // It has no end.

		tools := func(n int) *kept.Exchange {
			round := keptRound(callOfTool+stop, kept.End{Ending: kept.Whole})
			round.Head.Round = n
			return round
		}
		id = uuid.Must(uuid.NewV7())
		keepRound(t, dir, id, tools(0), lateTools-10*time.Second) // Its tools may still run.
		records.started = append(records.started, id)
		id = begin("whole interception")
		keepRound(t, dir, id, tools(0), lateTools+10*time.Second)
		records.started = append(records.started, id)
		id = uuid.Must(uuid.NewV7())
		keepRound(t, dir, id, tools(0), lateTools+10*time.Second)
		keepRound(t, dir, id, tools(1), lateTools-10*time.Second) // It has gone on.
		records.started = append(records.started, id)
		id = begin("whole") // Its later round is late.
		keepRound(t, dir, id, tools(0), time.Hour)
		record(id, -time.Second/2, func(r *Recorded) {
			last := round()
			*r = recordedOf("", tools(0), last)
			r.ID, r.EndedAt = id, time.Now().Add(-time.Second/2)
			r.Facts.ToolUsages = []rederive.ToolUsage{{CallID: "t", Tool: "bmcp_docs_x", Input: "{}", Injected: true, Metadata: map[string]any{}}}
			untold := rederive.TokenUsage{Metadata: map[string]any{rederive.Untold: true}}
			r.Facts.TokenUsages = []rederive.TokenUsage{untold, untold}
			last.Head.Round = 1
			time.AfterFunc(time.Second/4, func() { keepRound(t, dir, r.ID, last, 0) })
		})

		keepRound(t, dir, uuid.Must(uuid.NewV7()), round(), late-10*time.Second) // Its records may still be delivered.
		keepRound(t, dir, uuid.Must(uuid.NewV7()), round(), 3*time.Hour)
		record(uuid.Must(uuid.NewV7()), time.Hour, asItWas) // It ends while Interceptions runs.
		id = uuid.Must(uuid.NewV7())
		keepRound(t, dir, id, round(), time.Hour) // It ended before since, and its file was closed after.
		record(id, -3*time.Hour, asItWas)

		since := time.Now().Add(-2 * time.Hour)
		var sums Sums
		for verdict, err := range Interceptions(t.Context(), records, dir, since) {
			if err != nil {
				t.Fatal(err)
			}
			sums.Add(verdict)
			got := string(verdict.Kept)
			if len(verdict.Differences) > 0 {
				got += " " + fields(verdict.Differences)
			}
			if got != want[verdict.InterceptionID] {
				t.Errorf("%s: %q, want %q", verdict.InterceptionID, got, want[verdict.InterceptionID])
			}
			delete(want, verdict.InterceptionID)
		}
		if len(want) > 0 {
			t.Errorf("no verdict on %v", want)
		}
		if want := (Sums{Verified: 7, Differ: 5, NotKept: 1}); sums != want {
			t.Errorf("sums %+v, want %+v", sums, want)
		}
		for n := range 8 { // The caller can stop after each verdict.
			for range Interceptions(t.Context(), records, dir, since) {
				if n--; n < 0 {
					break
				}
			}
		}
	})
}

// Interceptions ends with an error when records cannot be read.
func TestInterceptionsFail(t *testing.T) {
	dir, broken := t.TempDir(), errors.New("no database")
	keepRound(t, dir, uuid.Must(uuid.NewV7()), keptRound("", kept.End{Ending: kept.Whole}), time.Hour)
	for name, records := range map[string]Records{
		"ended":  memory{err: broken},
		"lookup": lookupFails{memory{err: broken}},
	} {
		t.Run(name, func(t *testing.T) {
			errs := 0
			for verdict, err := range Interceptions(t.Context(), records, dir, time.Time{}) {
				if errs++; !errors.Is(err, broken) {
					t.Errorf("%+v, %v", verdict, err)
				}
			}
			if errs != 1 {
				t.Errorf("%d errors", errs)
			}
		})
	}
}

// lookupFails is a memory whose Lookup fails.
type lookupFails struct{ memory }

func (lookupFails) Ended(context.Context, time.Time) iter.Seq2[Recorded, error] {
	return func(func(Recorded, error) bool) {}
}

// Interceptions returns when its context ends, also while it waits for bytes.
func TestInterceptionsEndWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		recorded := recordedOf("", keptRound("", kept.End{}))
		recorded.ID, recorded.EndedAt = uuid.Must(uuid.NewV7()), time.Now()
		for verdict, err := range Interceptions(ctx, memory{ended: []Recorded{recorded}}, t.TempDir(), time.Time{}) {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%+v, %v", verdict, err)
			}
		}
		if ctx.Err() == nil {
			t.Error("it did not wait")
		}
	})
}
