package postgres_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/proto"
)

// day returns noon of a day in the nth month before the present one.
func day(monthsAgo, day int) time.Time {
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month()-time.Month(monthsAgo), day, 12, 0, 0, 0, time.UTC)
}

func partition(table string, at time.Time) string { return table + "_p" + at.Format("200601") }

// exists reports whether the partitions of a month exist: all of them, or none.
func (c controlPlane) exists(t *testing.T, at time.Time) bool {
	t.Helper()
	var names []any
	for _, table := range tables() {
		names = append(names, partition(table, at))
	}
	n := c.number(t, `SELECT count(*) FROM pg_class WHERE relname IN ($1, $2, $3, $4, $5) AND relispartition`, names...)
	if n > 0 && n < len(names) {
		t.Errorf("%d tables have a partition for %s", n, at.Format("2006-01"))
	}
	return n > 0
}

// stored returns how many interceptions are in a month's partition.
func (c controlPlane) stored(t *testing.T, at time.Time) int {
	t.Helper()
	return c.number(t, `SELECT count(*) FROM `+partition("interceptions", at))
}

func TestMonthsAreMadeAhead(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	for ago := 0; ago >= -3; ago-- {
		if !c.exists(t, day(ago, 1)) {
			t.Errorf("no partition for %s", day(ago, 1))
		}
	}
	if c.exists(t, day(1, 1)) || c.exists(t, day(-4, 1)) {
		t.Error("there are partitions that nobody needs")
	}
	c.mustStore(t, recordsOf(idAt(day(-2, 3)), day(-2, 3), "hello")...)
	if c.stored(t, day(-2, 3)) != 1 {
		t.Error("a row is not in its month")
	}
}

// A month that rows come for gets its partitions, and those rows are moved into them. Rows whose id has no time, or one
// that a clock cannot show, are stored all the same.
func TestRowsOfAnyMonthAreStored(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	old := day(30, 31) // In some months, the first of the next.
	times := []time.Time{old, old.Add(time.Hour), time.UnixMilli(0), time.Date(2097, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, at := range times {
		c.mustStore(t, recordsOf(idAt(at), old, "hello")...)
	}
	c.mustStore(t, recordsOf(uuid.NewString(), old, "hello")...)
	await(t, "a partition for a month that rows came for", func() bool { return c.exists(t, old) })
	if n := c.stored(t, old); n != 2 {
		t.Errorf("%d rows are in their month, want 2", n)
	}
	if n := c.number(t, `SELECT count(*) FROM interceptions_other`); n != 4 {
		t.Errorf("%d rows are in the rest, want 4", n)
	}
	if want := len(times) + 1; c.rows(t) != [5]int{want, want, want, want, want} || len(c.report(t)) != want {
		t.Errorf("stored: %v", c.rows(t))
	}
}

// A record that is sent again changes nothing, whether its month has gained a partition in between, has ended, or was
// dropped.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	dropped, ended, kept := day(26, 10), day(25, 10), day(0, 1)
	records := recordsOf(idAt(dropped), dropped, "hello")
	records = append(records, recordsOf(idAt(ended), ended, "hello")...)
	records = append(records, recordsOf(idAt(kept), kept, "hello")...)
	c.mustStore(t, records...)
	await(t, "the partitions", func() bool { return c.exists(t, dropped) && c.exists(t, ended) })
	if duplicates, failures := c.store(t, records...); duplicates != len(records) || len(failures) > 0 {
		t.Errorf("%d duplicates of %d, failures %v", duplicates, len(records), failures)
	}
	if n, err := c.Prune(t.Context(), day(25, 2)); n != 1 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if c.exists(t, dropped) {
		t.Error("the month is still there")
	}
	for range 2 {
		if duplicates, failures := c.store(t, records...); duplicates != len(records) || len(failures) > 0 {
			t.Errorf("%d duplicates of %d, failures %v", duplicates, len(records), failures)
		}
		// Its records alone, in another order, and with another start.
		if duplicates, _ := c.store(t, records[4], records[1], records[2]); duplicates != 3 {
			t.Errorf("%d duplicates of 3", duplicates)
		}
	}
	if c.rows(t) != [5]int{2, 2, 2, 2, 2} || c.exists(t, dropped) {
		t.Errorf("stored: %v", c.rows(t))
	}
}

// Retention drops months as a whole, and deletes the rest row by row, with the same result.
func TestPruneDropsMonths(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	var pruned, left int
	before := day(20, 15)
	for ago := 24; ago >= 18; ago-- {
		for _, at := range []time.Time{day(ago, 1), day(ago, 14), day(ago, 16)} {
			c.mustStore(t, recordsOf(idAt(at), at, "hello")...)
			c.mustStore(t, recordsOf(uuid.NewString(), at, "no time in its id")...)
			if at.Before(before) {
				pruned += 2
			} else {
				left += 2
			}
		}
		await(t, "the partitions", func() bool { return c.exists(t, day(ago, 1)) })
	}
	noted := func() int { return c.number(t, `SELECT sum(length(ids)) / 16 FROM touched`) }
	already := noted()
	if n, err := c.Prune(t.Context(), before); int(n) != pruned || err != nil {
		t.Errorf("pruned %d, %v, want %d", n, err, pruned)
	}
	if n := noted() - already; n != pruned {
		t.Errorf("%d are noted for what is derived of them, want %d", n, pruned)
	}
	if c.rows(t) != [5]int{left, left, left, left, left} || len(c.report(t)) != left {
		t.Errorf("left: %v, want %d", c.rows(t), left)
	}
	for ago := 24; ago >= 18; ago-- {
		if c.exists(t, day(ago, 1)) != (ago <= 20) {
			t.Errorf("the month %d ago: exists %t", ago, ago > 20)
		}
	}
}

// A month whose ids lie about when their interceptions started is not dropped while one of these is to be kept.
func TestPruneKeepsWhatStartedLater(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	old := day(24, 10)
	c.mustStore(t, recordsOf(idAt(old), old, "old")...)
	c.mustStore(t, recordsOf(idAt(old), day(1, 10), "its clock was wrong")...)
	await(t, "the partition", func() bool { return c.exists(t, old) })
	if n, err := c.Prune(t.Context(), day(12, 1)); n != 1 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if got := c.report(t); len(got) != 1 || got[0].Prompts[0].Prompt != "its clock was wrong" {
		t.Errorf("left: %v", got)
	}
}

// A change of partitions that waits for a lock makes others wait. So it gives up soon, lets them go on, and tries again.
func TestContendedDropIsReported(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	old := day(24, 10)
	c.mustStore(t, recordsOf(idAt(old), old, "old")...)
	await(t, "the partition", func() bool { return c.exists(t, old) })
	tx, err := c.db.Writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `SELECT count(*) FROM interceptions`); err != nil {
		t.Fatal(err)
	}
	pruned := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_, err := c.Prune(ctx, day(12, 1))
		pruned <- err
	}()
	longest := time.Duration(0)
	for running := true; running; {
		began := time.Now()
		c.mustStore(t, recordsOf(idAt(time.Now()), time.Now(), "new")...)
		longest = max(longest, time.Since(began))
		select {
		case err = <-pruned:
			running = false
		default:
		}
	}
	if err == nil || !strings.Contains(err.Error(), "hold locks") {
		t.Errorf("got %v", err)
	}
	if longest > 3*time.Second {
		t.Errorf("a batch waited %v", longest)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Prune(t.Context(), day(12, 1)); n != 1 || err != nil || c.exists(t, old) {
		t.Errorf("afterwards: pruned %d, %v", n, err)
	}
}

// Several programs make and drop the same months at the same time.
func TestMonthsOfSeveralPrograms(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	all := []controlPlane{openControlPlane(t, address), openControlPlane(t, address), openControlPlane(t, address)}
	done := make(chan bool)
	for _, c := range all {
		go func() {
			defer func() { done <- true }()
			for ago := 30; ago < 36; ago++ {
				c.mustStore(t, recordsOf(idAt(day(ago, 5)), day(ago, 5), "hello")...)
			}
		}()
	}
	for range all {
		<-done
	}
	for ago := 30; ago < 36; ago++ {
		await(t, "the partitions", func() bool { return all[0].exists(t, day(ago, 1)) })
	}
	total := make(chan int64)
	for _, c := range all {
		go func() {
			n, err := c.Prune(t.Context(), day(20, 1))
			if err != nil {
				t.Error(err)
			}
			total <- n
		}()
	}
	sum := int64(0)
	for range all {
		sum += <-total
	}
	if sum != 18 || all[0].rows(t) != [5]int{} {
		t.Errorf("pruned %d of 18, left %v", sum, all[0].rows(t))
	}
}

// A transaction that began before rows were moved into the partition of their month sees them.
func TestReadersSeeRowsThatMove(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	old := day(30, 10)
	id := uuid.MustParse(idAt(old))
	c.exec(t, `INSERT INTO interceptions (id, started, started_at) VALUES ($1, TRUE, now())`, id[:]) // Nobody has asked for its month yet.
	err := c.db.Read(t.Context(), func(tx *sql.Tx) error {
		count := func(query string, args ...any) (n int) {
			if err := tx.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		count(`SELECT count(*) FROM users`)
		c.mustStore(t, recordsOf(idAt(old), old, "hello")...)
		await(t, "the partitions are made, or waited for", func() bool {
			return c.exists(t, old) || c.number(t, `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'interceptions_other'::regclass`) > 0
		})
		if n := count(`SELECT count(*) FROM interceptions WHERE id = $1`, id[:]); n != 1 {
			t.Error("it does not see the row")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	await(t, "the partitions", func() bool { return c.exists(t, old) })
}

// Many rows of months come at once that have no partitions before: those that are on their way into the rest when the partition
// is made are stored in it.
func TestImportOfOldMonths(t *testing.T) {
	t.Parallel()
	from, to := newControlPlane(t), newControlPlane(t)
	const interceptions = 1500
	for ago := 20; ago < 23; ago++ {
		var records []*proto.Record
		for range interceptions {
			records = append(records, recordsOf(idAt(day(ago, 9)), day(ago, 9), "hello")...)
		}
		from.mustStore(t, records...)
	}
	exported := 0
	rows := func(yield func([]byte, error) bool) {
		for row, err := range from.Export(t.Context()) {
			if strings.HasPrefix(string(row), `{"table":"interceptions"`) {
				exported++
			}
			if !yield(row, err) {
				return
			}
		}
	}
	if n, err := to.Import(t.Context(), rows); err != nil || exported != 3*interceptions {
		t.Fatalf("after %d rows, of %d interceptions: %v", n, exported, err)
	}
	for ago := 20; ago < 23; ago++ {
		await(t, "the partition", func() bool { return to.exists(t, day(ago, 9)) })
		if n := to.stored(t, day(ago, 9)); n != interceptions {
			t.Errorf("%d rows are in their month, of %v: there were %v", n, to.rows(t), from.rows(t))
		}
	}
}

// A program starts although somebody who reads the tables keeps it from making the partition of a month to come, and makes it
// later.
func TestStartBesideALongRead(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	c := openControlPlane(t, address)
	ahead := day(-3, 1)
	for _, table := range tables() {
		c.exec(t, `DROP TABLE `+partition(table, ahead))
	}
	tx, err := c.db.Writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `SELECT count(*) FROM interceptions`); err != nil {
		t.Fatal(err)
	}
	other := openControlPlane(t, address)
	other.mustStore(t, recordsOf(idAt(time.Now()), time.Now(), "new")...)
	if c.exists(t, ahead) {
		t.Error("the partition was made: nothing was in the way")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	openControlPlane(t, address)
	if !c.exists(t, ahead) {
		t.Error("the partition was not made once nothing was in the way")
	}
}
