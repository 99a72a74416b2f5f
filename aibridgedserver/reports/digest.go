package reports

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/storable"
)

const (
	// stepSize is about how many interceptions a step derives from. Its transaction then keeps others from writing for
	// some ten milliseconds.
	stepSize = 256
	// notesRead bounds the notes of what was touched that a step reads.
	notesRead = 64
)

// Progress is told how far a long work is: how many of all things are done. It may be nil.
type Progress func(done, all int64)

// DigestOptions are the optional settings of [Reports.Digest]; the zero value works.
type DigestOptions struct {
	// Progress is told how far the work is.
	Progress Progress
	// Gentle takes a fiftieth of a processor at most, for a work that nobody waits for: some 250 interceptions a second.
	Gentle bool
}

// gentleRest is how many times as long as it worked a gentle digest pauses.
const gentleRest = 50

// pause returns how long to pause after a step, for how long the step took and kept others from writing.
func (o DigestOptions) pause(took, held time.Duration) time.Duration {
	if o.Gentle {
		return gentleRest * took
	}
	return held
}

// Digest derives from all records that were stored or deleted since it last did, and returns how many interceptions that
// were. It works in short transactions, and pauses after each for as long as it took at least, so that others can write.
// Several may run at the same time. If ctx ends, what is derived by then stays.
func (r *Reports) Digest(ctx context.Context, options DigestOptions) (digested int64, err error) {
	var all int64
	if options.Progress != nil {
		if all, err = r.Undigested(ctx); err != nil {
			return 0, err
		}
	}
	for {
		began := time.Now()
		n, held, err := r.step(ctx)
		if err != nil {
			return digested, fmt.Errorf("digest records: %w", err)
		}
		if n == 0 {
			return digested, nil
		}
		digested += n
		if options.Progress != nil {
			options.Progress(digested, max(all, digested))
		}
		select {
		case <-time.After(options.pause(time.Since(began), held)):
		case <-ctx.Done():
			return digested, context.Cause(ctx)
		}
	}
}

// Undigested returns how many interceptions there are to derive from. One that was touched twice counts twice.
func (r *Reports) Undigested(ctx context.Context) (n int64, err error) {
	err = r.db.Reader.QueryRowContext(ctx, `SELECT coalesce(sum(length(ids)), 0) / 16 FROM touched`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count records to digest: %w", err)
	}
	return n, nil
}

// step derives from the first interceptions that were touched, and returns how many those are and how long its
// transaction kept others from writing. It reads before that transaction. If another process has derived something in
// between, it does nothing and reads again.
func (r *Reports) step(ctx context.Context) (n int64, held time.Duration, err error) {
	for {
		var d *derivation
		err := r.db.Read(ctx, func(tx *sql.Tx) error {
			var err error
			d, err = r.derive(ctx, tx)
			return err
		})
		if err != nil || len(d.ids) == 0 {
			return 0, 0, err
		}
		current := true
		err = r.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
			began := time.Now()
			defer func() { held = time.Since(began) }()
			result, err := tx.ExecContext(ctx, `UPDATE derivation_steps SET number = number + 1 WHERE number = $1`, d.number)
			if err != nil {
				return err
			}
			if changed, err := result.RowsAffected(); err != nil || changed == 0 {
				current = false
				return err
			}
			return d.store(ctx, r.db, tx)
		})
		if err != nil || current {
			return int64(len(d.ids)), held, err
		}
	}
}

// derivation is what a step has read and what it will store.
type derivation struct {
	number int64 // Of the steps before it.
	notes  []any // The numbers of the notes of what was touched that it takes.
	ids    []uuid.UUID

	facts    []*facts               // To be stored.
	gone     []*facts               // Of interceptions that were deleted.
	prompts  map[int64]string       // To be indexed, by their numbers in the index.
	sessions map[int64]*session     // Those that change, by id.
	keys     map[sessionKey]int64   // The sessions of keys, as far as they matter.
	newKeys  map[sessionKey]int64   // Those of them that are to be stored.
	values   map[sessionValue]int64 // To be stored, with the starts of their sessions.
	sums     map[place]*tally       // What is added to sums,
	ofUsers  map[userPlace]*tally   // and to those of users.
	nextID   int64                  // Of a session.
}

// place is where a sum is kept.
type place struct {
	dimension Dimension
	span      span
	at        int64
	value     string
}

// derive reads what the next step needs and computes what it stores.
func (r *Reports) derive(ctx context.Context, tx *sql.Tx) (*derivation, error) {
	d := &derivation{
		sessions: map[int64]*session{}, keys: map[sessionKey]int64{}, newKeys: map[sessionKey]int64{},
		values: map[sessionValue]int64{}, prompts: map[int64]string{}, sums: map[place]*tally{}, ofUsers: map[userPlace]*tally{},
	}
	if err := tx.QueryRowContext(ctx, `SELECT number FROM derivation_steps`).Scan(&d.number); err != nil {
		return nil, err
	}
	if err := d.takeNotes(ctx, tx); err != nil || len(d.ids) == 0 {
		return d, err
	}
	seen, err := readRecords(ctx, tx, d.ids)
	if err != nil {
		return nil, err
	}
	old, err := readFacts(ctx, tx, seen.ids)
	if err != nil {
		return nil, err
	}
	if err := d.readSessions(ctx, tx, seen, old); err != nil {
		return nil, err
	}
	for _, i := range seen.inOrder() {
		d.update(i, old[i.id], r.book)
	}
	for id, before := range old {
		if seen.interceptions[id] == nil {
			d.remove(before)
		}
	}
	return d, nil
}

// takeNotes takes the first notes of what was touched.
func (d *derivation) takeNotes(ctx context.Context, tx *sql.Tx) error {
	type note struct {
		seq int64
		ids []byte
	}
	notes, err := all(ctx, tx, query{`SELECT seq, ids FROM touched ORDER BY seq LIMIT $1`, arguments{notesRead}},
		func(rows *sql.Rows) (n note, err error) {
			err = rows.Scan(&n.seq, &n.ids)
			return n, err
		})
	known := map[uuid.UUID]bool{}
	for _, n := range notes {
		for at := 0; at+16 <= len(n.ids); at += 16 {
			id := uuid.UUID(n.ids[at : at+16])
			if !known[id] {
				known[id] = true
				d.ids = append(d.ids, id)
			}
		}
		d.notes = append(d.notes, n.seq)
		if len(d.ids) >= stepSize {
			break
		}
	}
	return err
}

// update derives from an interception. Before is what was derived of it before, or nil.
func (d *derivation) update(i *interception, before *facts, of pricer) {
	f := i.facts(of)
	var s *session
	if before != nil {
		f.session, f.searchID = before.session, before.searchID
		s = d.sessions[f.session]
		d.count(before, s, -1)
	} else {
		s = d.sessionOf(i)
		f.session = s.id
		s.kept++
	}
	d.count(f, s, +1)
	d.lead(i, before, s)
	s.saw(i)
	if i.prompt != nil && f.searchID == 0 {
		f.searchID = s.searchID()
		if f.searchID != 0 {
			d.prompts[f.searchID] = storable.Cut(i.prompt.text, longestSearchable)
		}
	}
	d.note(i, f, s)
	d.facts = append(d.facts, f)
}

// remove takes an interception out of its session. What it cost stays in the sums: it was spent.
func (d *derivation) remove(before *facts) {
	d.gone = append(d.gone, before)
	s := d.sessions[before.session]
	s.kept--
	if s.titleFrom == before.id {
		s.title = ""
	}
}

// count adds what an interception adds to its session and to sums, or takes it away.
func (d *derivation) count(f *facts, s *session, sign int64) {
	s.sums.scaled(f.sums, sign)
	for _, p := range f.parts() {
		for _, span := range spans() {
			at := place{p.dimension, span, span.begin(quarterOf(f.startedAt)), p.value}
			if d.sums[at] == nil {
				d.sums[at] = &tally{}
			}
			d.sums[at].scaled(p.sums, sign)
		}
	}
	f.eachOfUser(func(at userPlace, sums *tally) {
		if d.ofUsers[at] == nil {
			d.ofUsers[at] = &tally{}
		}
		d.ofUsers[at].scaled(*sums, sign)
	})
}

// store stores what was derived.
func (d *derivation) store(ctx context.Context, db aibridgedserver.Database, tx *sql.Tx) error {
	if err := storeFacts(ctx, db, tx, d.facts, d.gone); err != nil {
		return err
	}
	if err := storeSearchables(ctx, db.Search, tx, d.prompts); err != nil {
		return err
	}
	if err := d.storeSessions(ctx, db, tx); err != nil {
		return err
	}
	if err := storeSums(ctx, db, tx, d.sums); err != nil {
		return err
	}
	if err := storeUserSums(ctx, db, tx, d.ofUsers); err != nil {
		return err
	}
	// One with a lower number may have been committed since they were read, so only these are taken.
	var taken arguments
	in := taken.list(d.notes)
	_, err := tx.ExecContext(ctx, `DELETE FROM touched WHERE seq IN (`+in+`)`, taken...)
	return err
}

// Reprice computes the costs anew of all interceptions that started at since or later, for prices that have changed. It
// returns how many there are.
func (r *Reports) Reprice(ctx context.Context, since time.Time, progress Progress) (repriced int64, err error) {
	if _, err := r.Digest(ctx, DigestOptions{}); err != nil {
		return 0, err
	}
	after, last := since.UnixMicro()-1, uuid.Max
	for {
		ids, at, err := r.started(ctx, after, last)
		if err == nil && len(ids) > 0 {
			err = r.db.Write(ctx, func(ctx context.Context, tx *sql.Tx) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO touched (ids) VALUES ($1)`, ids)
				return err
			})
		}
		if err != nil {
			return 0, fmt.Errorf("reprice: %w", err)
		}
		if len(ids) == 0 {
			return r.Digest(ctx, DigestOptions{Progress: progress})
		}
		after, last = at, uuid.UUID(ids[len(ids)-16:])
	}
}

// started returns the ids of the next interceptions behind a place, and when the last of them started.
func (r *Reports) started(ctx context.Context, after int64, last uuid.UUID) (ids []byte, at int64, err error) {
	_, err = all(ctx, r.db.Reader, query{
		`SELECT id, started_at FROM interceptions WHERE started = TRUE AND (started_at, id) > ($1, $2) ORDER BY started_at, id LIMIT $3`,
		arguments{after, last[:], stepSize},
	}, func(rows *sql.Rows) (id uuid.UUID, err error) {
		err = rows.Scan(&id, &at)
		ids = append(ids, id[:]...)
		return id, err
	})
	return ids, at, err
}
