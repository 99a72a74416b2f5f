package aibridgedserver_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// rowsLeft returns how many rows the tables of records have.
func (c controlPlane) rowsLeft(tb testing.TB) map[string]int {
	tb.Helper()
	rows := map[string]int{}
	for _, table := range []string{"interceptions", "prompt_usages", "token_usages", "tool_usages", "model_thoughts"} {
		rows[table] = c.number(tb, `SELECT count(*) FROM `+table)
	}
	return rows
}

func (c controlPlane) mustPrune(tb testing.TB, before int, want int64) {
	tb.Helper()
	deleted, err := c.Prune(tb.Context(), second(before).AsTime())
	if err != nil || deleted != want {
		tb.Errorf("pruned %d interceptions, %v, want %d", deleted, err, want)
	}
}

// shifted returns a record of each of the six kinds, of an interception that starts at second at.
func shifted(id string, at int) []*proto.Record {
	return []*proto.Record{
		start(id, newID(), at), prompt(id, "hello", at), tokens(id, 1, at), tool(id, "Bash", `{}`, at), thought(id, "hm", at),
		end(id, at+1),
	}
}

func TestPruneDeletesWhatIsOlder(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	const n = 200
	var records []*proto.Record
	for i := range n {
		records = append(records, shifted(newID(), i)...)
	}
	c.mustStore(t, records...)
	c.mustPrune(t, 0, 0)
	c.mustPrune(t, 60, 60)
	c.mustPrune(t, 60, 0)
	all := c.report(t, aibridgedserver.InterceptionFilter{})
	if len(all) != n-60 || !all[0].StartedAt.Equal(second(60).AsTime()) {
		t.Errorf("%d are left, the first of %v", len(all), all[0].StartedAt)
	}
	for table, rows := range c.rowsLeft(t) {
		if rows != n-60 {
			t.Errorf("%s has %d rows", table, rows)
		}
	}
	c.mustPrune(t, 10*n, n-60)
	for table, rows := range c.rowsLeft(t) {
		if rows != 0 {
			t.Errorf("in the end %s has %d rows", table, rows)
		}
	}
}

// One interception may have more records than a transaction deletes.
func TestPruneOfOneWithManyRecords(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	id := newID()
	records := shifted(id, 0)
	for i := range 1500 {
		records = append(records, tool(id, "Bash", strings.Repeat("x", 3000), i))
	}
	kept := shifted(newID(), 9)
	c.mustStore(t, append(records, kept...)...)
	c.mustPrune(t, 9, 1)
	for table, rows := range c.rowsLeft(t) {
		if rows != 1 {
			t.Errorf("%s has %d rows", table, rows)
		}
	}
}

// Records can arrive after their interception was deleted, if an acknowledgement was lost. No report shows them, and
// the next Prune deletes them.
func TestPruneOfRecordsThatComeLate(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]func([]*proto.Record) []*proto.Record{
		"all":        func(r []*proto.Record) []*proto.Record { return r },
		"children":   func(r []*proto.Record) []*proto.Record { return r[1:5] },
		"end":        func(r []*proto.Record) []*proto.Record { return r[5:] },
		"one prompt": func(r []*proto.Record) []*proto.Record { return r[1:2] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			records := shifted(newID(), 10)
			c.mustStore(t, records...)
			c.mustPrune(t, 20, 1)
			c.mustStore(t, late(records)...)
			visible := int64(0)
			if name == "all" {
				visible = 1
			}
			if got := c.report(t, aibridgedserver.InterceptionFilter{}); int64(len(got)) != visible {
				t.Errorf("the report has %+v", got)
			}
			c.mustPrune(t, 20, visible)
			for table, rows := range c.rowsLeft(t) {
				if rows != 0 {
					t.Errorf("%s has %d rows", table, rows)
				}
			}
		})
	}
}

// Records whose interception has no start yet stay, if they are not old.
func TestPruneKeepsWhatHasNotStarted(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	records := shifted(newID(), 30)
	c.mustStore(t, records[1:]...)
	c.mustPrune(t, 20, 0)
	c.mustStore(t, records[0])
	if got := c.report(t, aibridgedserver.InterceptionFilter{}); len(got) != 1 || len(got[0].Prompts) != 1 || got[0].EndedAt == nil {
		t.Errorf("got %+v", got)
	}
}

func TestPruneStopsWithItsContext(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	var records []*proto.Record
	for i := range 1000 {
		records = append(records, start(newID(), newID(), i%100))
	}
	c.mustStore(t, records...)
	errGone := errors.New("gone")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Millisecond, errGone)
	defer cancel()
	deleted, err := c.Prune(ctx, second(1000).AsTime())
	if !errors.Is(err, errGone) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	left := c.number(t, `SELECT count(*) FROM interceptions`)
	if left == 0 || int(deleted)+left != len(records) {
		t.Errorf("%d deleted, %d left of %d", deleted, left, len(records))
	}
	c.mustPrune(t, 1000, int64(left))
}

// While Prune deletes much, others can write without losing anything and without waiting long.
func TestPruneBesideWriters(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	elsewhere := openControlPlane(t, c.path, aibridgedserver.Options{})
	const old = 600
	var records []*proto.Record
	for i := range old {
		records = append(records, shifted(newID(), i)...)
	}
	c.mustStore(t, records...)
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	written := make([]int, 2)
	for i, server := range []controlPlane{c, elsewhere} {
		writing.Go(func() {
			for ctx.Err() == nil {
				server.mustStore(t, shifted(newID(), 10_000)...)
				written[i]++
			}
		})
	}
	c.mustPrune(t, 10_000, old)
	stop()
	writing.Wait()
	if written[0] == 0 || written[1] == 0 {
		t.Errorf("written meanwhile: %v", written)
	}
	for table, rows := range c.rowsLeft(t) {
		if want := written[0] + written[1]; rows != want {
			t.Errorf("%s has %d rows, want %d", table, rows, want)
		}
	}
}

func TestPruneAfterClose(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prune(t.Context(), time.Now()); err == nil {
		t.Error("pruned")
	}
}

// The pages of deleted rows are used again: a file stops growing when as much is deleted as is added.
func TestPruneLetsTheFileStopGrowing(t *testing.T) {
	engine.SQLiteOnly(t)
	t.Parallel()
	c := newControlPlane(t)
	size := func(round int) int64 {
		var records []*proto.Record
		for i := range 60 {
			id, at := newID(), 1000*round+i
			records = append(records, start(id, newID(), at), prompt(id, strings.Repeat("word ", 100+25*i), at), tokens(id, 1, at),
				end(id, at+1))
		}
		c.mustStore(t, records...)
		if _, err := c.Prune(t.Context(), second(1000*(round-1)).AsTime()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.db.Writer.ExecContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(c.path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	var sizes []int64
	for round := range 12 {
		sizes = append(sizes, size(round))
	}
	if sizes[11] > sizes[3]*11/10 {
		t.Errorf("the file grows: %v", sizes)
	}
	t.Logf("sizes of the file: %v", sizes)
}
