package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/coder/aibridged/proto"
)

// monthsLock is the key of the lock that one change of partitions at a time has.
const monthsLock = 0x6169627269646765

// A maker makes the partitions of a month as another program does, in two steps.
type maker struct {
	*sql.Tx
	t      *testing.T
	locked chan struct{}
}

func (c controlPlane) maker(t *testing.T) *maker {
	t.Helper()
	tx, err := c.db.Writer.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &maker{tx, t, make(chan struct{})}
}

// lock keeps all rows from the partitions for the rest.
func (m *maker) lock() {
	defer close(m.locked)
	var others []string
	for _, table := range tables() {
		others = append(others, table+"_other")
	}
	if _, err := m.ExecContext(m.t.Context(), `LOCK TABLE `+strings.Join(others, ", ")+` IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		m.t.Error(err)
	}
}

// attach makes the partitions of the month that was so long ago.
func (m *maker) attach(ago int) {
	m.t.Helper()
	<-m.locked
	first := func(ago int) string {
		id := uuid.MustParse(idAt(day(ago, 1).Add(-12 * 60 * 60 * 1e9)))
		clear(id[6:])
		return id.String()
	}
	for _, table := range tables() {
		name, key := partition(table, day(ago, 1)), "interception_id"
		if table == "interceptions" {
			key = "id"
		}
		for _, statement := range []string{
			fmt.Sprintf(`CREATE TABLE %s (LIKE %s INCLUDING ALL)`, name, table),
			fmt.Sprintf(`WITH moved AS (DELETE FROM %s_other WHERE %s >= '%s' AND %s < '%s' RETURNING *) INSERT INTO %s SELECT * FROM moved`,
				table, key, first(ago), key, first(ago-1), name),
			fmt.Sprintf(`ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`, table, name, first(ago), first(ago-1)),
		} {
			if _, err := m.ExecContext(m.t.Context(), statement); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	if err := m.Commit(); err != nil {
		m.t.Fatal(err)
	}
}

// waiting returns how many sessions wait for a partition for the rest in a mode.
func (c controlPlane) waiting(t *testing.T, mode string) int {
	t.Helper()
	return c.number(t, `SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
		WHERE NOT granted AND relation::regclass::text LIKE '%\_other' AND mode = $1`, mode)
}

// makeNone keeps the program itself from making partitions until the transaction ends.
func (c controlPlane) makeNone(t *testing.T) *sql.Tx {
	t.Helper()
	own, err := c.db.Reader.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.ExecContext(t.Context(), fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, monthsLock)); err != nil {
		t.Fatal(err)
	}
	return own
}

// A prune that meets rows while they move into the partition of their month deletes them as a whole.
func TestPruneBesideAPartition(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	own := c.makeNone(t)
	const ago, interceptions = 60, 9
	for n := range interceptions {
		c.mustStore(t, recordsOf(idAt(day(ago, 1+n)), day(ago, 1+n), "hello")...)
	}
	made := c.maker(t)
	made.lock()
	pruned := make(chan error, 1)
	go func() {
		n, err := c.Prune(context.WithoutCancel(t.Context()), day(ago-2, 1))
		if err == nil && n != interceptions {
			err = fmt.Errorf("it pruned %d", n)
		}
		pruned <- err
	}()
	await(t, "the prune waits", func() bool { return c.waiting(t, "RowExclusiveLock") > 0 })
	made.attach(ago)
	if err := <-pruned; err != nil {
		t.Error(err)
	}
	if rows := c.rows(t); rows != [5]int{} {
		t.Errorf("left: %v", rows)
	}
	if err := own.Rollback(); err != nil {
		t.Error(err)
	}
}

// While rows of several months without partitions are on their way, somebody makes one partition after the other, each while the
// rows wait for the one before. The rows are stored at the first try: no number of partitions can keep them away.
func TestPartitionsMadeBeneathRows(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(t *testing.T, c controlPlane, records []*proto.Record) error{
		"delivery": func(t *testing.T, c controlPlane, records []*proto.Record) error {
			response, err := c.RecordBatch(context.WithoutCancel(t.Context()), &proto.RecordBatchRequest{Records: records})
			if n := len(response.GetFailures()); n > 0 {
				return fmt.Errorf("%d records failed, the first with %v", n, response.GetFailures()[0])
			}
			return err
		},
		"import": func(t *testing.T, c controlPlane, records []*proto.Record) error {
			from := newControlPlane(t)
			from.mustStore(t, records...)
			_, err := c.Import(context.WithoutCancel(t.Context()), from.Export(t.Context()))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newControlPlane(t)
			c.makeBeneath(t, put)
		})
	}
}

func (c controlPlane) makeBeneath(t *testing.T, put func(*testing.T, controlPlane, []*proto.Record) error) {
	const newest, months = 60, 7 // More than a transaction is tried.
	var records []*proto.Record
	for ago := newest; ago < newest+months; ago++ {
		records = append(records, recordsOf(idAt(day(ago, 9)), day(ago, 9), "hello")...)
	}
	own := c.makeNone(t)
	now := c.maker(t)
	now.lock()
	var err error
	stored := make(chan error, 1)
	go func() { stored <- put(t, c, records) }()
	await(t, "the rows wait", func() bool { return c.waiting(t, "RowExclusiveLock") > 0 })
	ended := false
	for made := 0; made < months && !ended; made++ {
		next := c.maker(t)
		go next.lock()
		await(t, "the next one stands behind the rows", func() bool { return c.waiting(t, "ShareRowExclusiveLock") > 0 })
		now.attach(newest + months - 1 - made) // The last row's own, so the others' are still missing.
		now = next
		await(t, "the rows are stored or wait again", func() bool {
			select {
			case err = <-stored:
				ended = true
			default:
			}
			return ended || c.waiting(t, "RowExclusiveLock") > 0
		})
	}
	<-now.locked
	if err := now.Rollback(); err != nil {
		t.Error(err)
	}
	if !ended {
		err = <-stored
	}
	if err != nil {
		t.Errorf("not stored: %v", err)
	}
	// Before rows move again: who counts meanwhile may see some in neither place.
	if rows := c.rows(t); rows != [5]int{months, months, months, months, months} {
		t.Errorf("stored: %v", rows)
	}
	if err := own.Rollback(); err != nil {
		t.Error(err)
	}
}

// Rows that are in the partition for the rest when a program ends get the partitions of their months from the next one.
func TestLeftRowsGetTheirMonth(t *testing.T) {
	t.Parallel()
	address := newAddress(t)
	c := openControlPlane(t, address)
	old, dropped := day(40, 10), day(50, 10)
	for _, at := range []any{uuid.MustParse(idAt(old)), uuid.MustParse(idAt(dropped)), uuid.New()} {
		id := at.(uuid.UUID)
		c.exec(t, `INSERT INTO interceptions (id, started, started_at) VALUES ($1, TRUE, now())`, id[:])
	}
	c.exec(t, `UPDATE dropped_months SET below = $1::uuid`, idAt(day(45, 1)))
	other := openControlPlane(t, address)
	await(t, "the partition", func() bool { return other.exists(t, old) })
	if n := other.stored(t, old); n != 1 || other.exists(t, dropped) {
		t.Errorf("%d rows are in their month, and one that was dropped has a partition: %t", n, other.exists(t, dropped))
	}
}

// What comes to a new database of months that all are missing is stored in one go, and each month has its own rows in the end.
func TestImportOfManyMissingMonths(t *testing.T) {
	t.Parallel()
	from := newControlPlane(t)
	const months = 34
	for ago := range months {
		for _, at := range []int{3, 13, 23} {
			from.mustStore(t, recordsOf(idAt(day(ago+1, at)), day(ago+1, at), "hello")...)
		}
	}
	for range 5 {
		to := newControlPlane(t)
		if n, err := to.Import(t.Context(), from.Export(t.Context())); err != nil {
			t.Fatalf("after %d rows: %v", n, err)
		}
		for ago := range months {
			await(t, "the partition", func() bool { return to.exists(t, day(ago+1, 9)) })
			if n := to.stored(t, day(ago+1, 9)); n != 3 {
				t.Errorf("%d rows are in their month", n)
			}
		}
	}
}
