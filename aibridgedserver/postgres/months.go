package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cdr.dev/slog/v3"
)

const (
	// monthsAhead is how many months after the present one have partitions.
	monthsAhead = 3
	// monthsBack is how old a month may be to get a partition of its own.
	monthsBack = 120
	// lookAtMonths is how often it is looked whether a month is missing.
	lookAtMonths = time.Hour
	// lockPatience is how long a change of partitions waits for a lock. All other transactions queue behind it meanwhile.
	lockPatience = 200 * time.Millisecond
	// lockTries and lockPause are how often and after which pause such a change is tried.
	lockTries = 10
	lockPause = 250 * time.Millisecond
	// monthsLock is the key of the transaction's advisory lock that one change of partitions at a time has.
	monthsLock = 0x6169627269646765
)

// restPartition is the end of the name of a partition for what has no month of its own.
const restPartition = "_other"

// recordTable is a table that is partitioned by months.
type recordTable struct{ name, key string }

// recordTables returns the tables that share their months, in the order in which all transactions use them.
func recordTables() []recordTable {
	return []recordTable{
		{"interceptions", "id"}, {"token_usages", "interception_id"}, {"prompt_usages", "interception_id"},
		{"tool_usages", "interception_id"}, {"model_thoughts", "interception_id"},
	}
}

func isRecordTable(name string) bool {
	return slices.ContainsFunc(recordTables(), func(t recordTable) bool { return t.name == name })
}

// months makes and drops the partitions of the tables of records. A row whose month has no partition goes into the
// partition for the rest, and is moved when its partition is made. Between the two stands a lock: a transaction that has such
// rows locks the partition for the rest before it inserts them, and who makes a partition locks that against all who do. So no
// row is on its way to a place that is no longer its own.
type months struct {
	db     *sql.DB
	logger slog.Logger
	wanted chan month // Months that rows came for.
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	here  map[month]bool // Those that have partitions. Guarded by mu.
	asked map[month]bool // Those that were asked for and are not made yet. Guarded by mu.
}

// startMonths makes the partitions of the present month and of those ahead, and goes on doing so until close.
func startMonths(ctx context.Context, db *sql.DB, logger slog.Logger) (*months, error) {
	m := &months{
		db: db, logger: logger, wanted: make(chan month, monthsBack+monthsAhead), done: make(chan struct{}),
		here: map[month]bool{}, asked: map[month]bool{},
	}
	switch err := m.look(ctx); {
	case err == nil:
	case isContention(stateOf(err)): // It is no reason not to serve: somebody makes a backup, perhaps.
		m.warn(ctx, err)
	default:
		return nil, err
	}
	ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go m.run(ctx)
	return m, nil
}

func (m *months) run(ctx context.Context) {
	defer close(m.done)
	ticker := time.NewTicker(lookAtMonths)
	defer ticker.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			err = m.look(ctx)
		case wanted := <-m.wanted:
			err = m.add(ctx, wanted)
		}
		if err != nil && ctx.Err() == nil {
			m.warn(ctx, err)
		}
	}
}

// warn says that partitions cannot be made. The rows are in the partition for the rest until the next look makes theirs.
func (m *months) warn(ctx context.Context, err error) {
	m.logger.Warn(ctx, "partitions of records cannot be made, the program will try again", slog.F("next_in", lookAtMonths), slog.Error(err))
}

func (m *months) close() {
	m.cancel()
	<-m.done
}

// want asks for the months of rows whose first column is an interception's id, unless they are too far from now: such
// ids are from a clock that is wrong. It reports whether any of the rows is of a month that is not known to have a partition:
// another program may make it at any time.
func (m *months) want(values []any, width int) (homeless bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := 0; n < len(values); n += width {
		id, _ := values[n].([]byte)
		if wanted, ok := monthOf(id); ok && !m.here[wanted] {
			homeless = true
			m.ask(wanted)
		}
	}
	return homeless
}

// ask lets run make the partitions of a month that has none. The caller holds mu.
func (m *months) ask(wanted month) {
	if now := monthAt(time.Now()); m.asked[wanted] || wanted < now-monthsBack || wanted > now+monthsAhead {
		return
	}
	select {
	case m.wanted <- wanted:
		m.asked[wanted] = true
	default: // A later row asks again.
	}
}

// look reads which months have partitions, and makes those that are missing from the present month on. Older ones that have
// rows in the partition for the rest are asked for: who was asked when these rows came may have ended or failed.
func (m *months) look(ctx context.Context) error {
	all, err := m.list(ctx)
	if err != nil {
		return err
	}
	m.mu.Lock()
	clear(m.here)
	for _, one := range all {
		m.here[one] = true
	}
	m.mu.Unlock()
	now := monthAt(time.Now())
	for one := now; one <= now+monthsAhead; one++ {
		if !slices.Contains(all, one) {
			err = errors.Join(err, m.add(ctx, one))
		}
	}
	left, failed := m.left(ctx, now)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range left {
		m.ask(one)
	}
	return errors.Join(err, failed)
}

// left returns the months before now that have interceptions in the partition for the rest, in ascending order. That takes one
// look into an index a month.
func (m *months) left(ctx context.Context, now month) (all []month, err error) {
	var numbers []int64
	var firsts []string
	for one := now - monthsBack; one <= now; one++ {
		numbers, firsts = append(numbers, int64(one)), append(firsts, one.first().String())
	}
	rows, err := m.db.QueryContext(ctx, `SELECT number FROM (
			SELECT number, first, lead(first) OVER (ORDER BY number) AS next FROM unnest($1::bigint[], $2::uuid[]) AS r (number, first)
		) AS months
		WHERE EXISTS (SELECT FROM interceptions_other WHERE id >= first AND id < next AND substr(id::text, 15, 1) = '7')
			AND first >= (SELECT below FROM dropped_months) ORDER BY number`, numbers, firsts)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var number int64
		if err := rows.Scan(&number); err != nil {
			return nil, err
		}
		all = append(all, month(number))
	}
	return all, rows.Err()
}

// hold makes the partitions for the rest of tables stay as they are until a transaction ends, but for the rows of others. It waits
// for who is making a partition. The statement after it is planned anew, so it sees that partition.
func hold(ctx context.Context, tx *sql.Tx, tables ...string) error {
	_, err := tx.ExecContext(ctx, `LOCK TABLE `+rests(tables...)+` IN ROW EXCLUSIVE MODE`)
	return err
}

// holdAll implements [aibridgedserver.Database.Hold].
func holdAll(ctx context.Context, tx *sql.Tx) error { return hold(ctx, tx, recordTableNames()...) }

// rests returns the partitions for the rest of tables, as a statement names them.
func rests(tables ...string) string { return strings.Join(tables, restPartition+", ") + restPartition }

func recordTableNames() (names []string) {
	for _, table := range recordTables() {
		names = append(names, table.name)
	}
	return names
}

// list returns the months that have partitions, in ascending order.
func (m *months) list(ctx context.Context) ([]month, error) {
	rows, err := m.db.QueryContext(ctx, `SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'interceptions'::regclass AND c.relname <> 'interceptions_other' ORDER BY c.relname`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []month
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		one, err := parseMonth(name)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// tableExists is the condition that there is a table named $1. Unlike to_regclass, it sees what was committed while the
// transaction waited for its lock.
const tableExists = `EXISTS (SELECT FROM pg_class WHERE relname = $1 AND relnamespace = current_schema()::regnamespace)`

// add makes the partitions of a month, and moves its rows into them that came before.
func (m *months) add(ctx context.Context, one month) error {
	err := m.change(ctx, func(tx *sql.Tx) error {
		var there bool
		err := tx.QueryRowContext(ctx, `SELECT `+tableExists+` OR (SELECT below FROM dropped_months) > $2::uuid`,
			one.partition("interceptions"), one.first().String()).Scan(&there)
		if err != nil || there { // Another program has made it, or it was dropped.
			return err
		}
		// No row comes in between, and rows of transactions that are under way are waited for.
		if _, err := tx.ExecContext(ctx, `LOCK TABLE `+rests(recordTableNames()...)+` IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		for _, table := range recordTables() {
			name, from, to := one.partition(table.name), one.first(), (one + 1).first()
			within := fmt.Sprintf(`%s >= '%s' AND %s < '%s'`, table.key, from, table.key, to)
			_, err := tx.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE %s (LIKE %s INCLUDING ALL, CONSTRAINT %s_range CHECK (%s))`,
				name, table.name, name, within))
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, fmt.Sprintf(`WITH moved AS (DELETE FROM %s_other WHERE %s RETURNING *) INSERT INTO %s SELECT * FROM moved`,
				table.name, within, name))
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, fmt.Sprintf(`ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`,
				table.name, name, from, to))
			if err != nil {
				return err
			}
		}
		return nil
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.asked, one) // If it failed, later rows ask again, and so does the next look.
	if err == nil {
		m.here[one] = true
	}
	if err != nil {
		return fmt.Errorf("make the partitions of %s: %w", one, err)
	}
	return nil
}

// dropBefore implements [aibridgedserver.Database.DropBefore]. It drops the months that ended before a time, the oldest
// first, up to one that has an interception which started later: its id is not of when it started.
func (m *months) dropBefore(ctx context.Context, before time.Time) (interceptions int64, err error) {
	all, err := m.list(ctx)
	if err != nil {
		return 0, err
	}
	for _, one := range all {
		if (one + 1).begin().After(before) {
			break
		}
		n, dropped, err := m.drop(ctx, one, before)
		if err != nil {
			return interceptions, fmt.Errorf("drop the records of %s: %w", one, err)
		}
		if !dropped {
			break
		}
		interceptions += n
	}
	return interceptions, nil
}

// drop drops the partitions of a month, unless it has an interception that started at a time or later.
func (m *months) drop(ctx context.Context, one month, before time.Time) (interceptions int64, dropped bool, err error) {
	var names []string
	for _, table := range recordTables() {
		names = append(names, one.partition(table.name))
	}
	err = m.change(ctx, func(tx *sql.Tx) error {
		var there bool
		if err := tx.QueryRowContext(ctx, `SELECT `+tableExists, names[0]).Scan(&there); err != nil || !there {
			dropped = err == nil // By another program.
			return err
		}
		// Dropping a partition locks the whole table. So what takes long, counting and noting, comes before that lock.
		if _, err := tx.ExecContext(ctx, `LOCK TABLE `+strings.Join(names, ", ")+` IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		var later bool
		err := tx.QueryRowContext(ctx, `SELECT count(*) FILTER (WHERE started), coalesce(max(started_at) >= $1, FALSE) FROM `+names[0],
			before.UnixMicro()).Scan(&interceptions, &later)
		if err != nil || later {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE dropped_months SET below = greatest(below, $1::uuid)`, (one + 1).first().String())
		if err != nil {
			return err
		}
		// What is derived of them goes, too. Each note has the ids of some hundred interceptions.
		_, err = tx.ExecContext(ctx, `INSERT INTO touched (ids) SELECT string_agg(uuid_send(id), '' ORDER BY id)
			FROM (SELECT id, row_number() OVER (ORDER BY id) / 256 AS note FROM `+names[0]+` WHERE started) AS i GROUP BY note ORDER BY note`)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DROP TABLE `+strings.Join(names, ", "))
		dropped = err == nil
		return err
	})
	return interceptions, dropped && err == nil, err
}

// change runs do in a transaction that has the lock for changes of partitions and waits only briefly for others. It
// tries again for some seconds while others are in the way.
func (m *months) change(ctx context.Context, do func(*sql.Tx) error) error {
	for try := 1; ; try++ {
		err := m.changeOnce(ctx, do)
		if state := stateOf(err); !isContention(state) {
			return err
		}
		if try == lockTries {
			return fmt.Errorf("other transactions hold locks on the tables of records, also after %d tries: %w", try, err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (m *months) changeOnce(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := m.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf(`SET LOCAL lock_timeout = '%dms'`, lockPatience.Milliseconds()))
	if err == nil {
		_, err = tx.ExecContext(ctx, fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, monthsLock))
	}
	if err == nil {
		err = do(tx)
	}
	if err != nil {
		if failed := tx.Rollback(); !errors.Is(failed, sql.ErrTxDone) {
			err = errors.Join(err, failed)
		}
		return err
	}
	return tx.Commit()
}
