package reports

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
)

// InterceptionFilter says which interceptions a list has.
type InterceptionFilter struct {
	Range Range
	// UserID, Model, Client, Provider, Tool and Outcome, if not empty, keep those that have it. An outcome is [OK],
	// [Running] or the type of an error.
	UserID, Model, Client, Provider, Tool, Outcome string
	// Group, if not empty, keeps those of users who belonged to this group at the time.
	Group string
	// Ungrouped keeps those of users who belonged to no group at the time.
	Ungrouped bool
	// Unpriced keeps those of which a part has no price.
	Unpriced bool
	// Failed keeps those that failed.
	Failed bool
	// After is [InterceptionPage.Next] of the page before. Empty: the first page.
	After string
	// Limit is how many interceptions a page has, 50 if it is zero. There are at most 200.
	Limit int
}

// InterceptionRow is an interception in a list.
type InterceptionRow struct {
	ID        string           `json:"id"`
	SessionID int64            `json:"session_id"`
	UserID    string           `json:"user_id"`
	User      string           `json:"user"`
	StartedAt time.Time        `json:"started_at"`
	Provider  string           `json:"provider"`
	Model     string           `json:"model"`
	Client    string           `json:"client"`
	Outcome   string           `json:"outcome"`
	Tools     map[string]int64 `json:"tools"` // How often the model called each.

	Figures
}

// InterceptionPage is a part of a list of interceptions, the latest first.
type InterceptionPage struct {
	Interceptions []InterceptionRow `json:"interceptions"`
	// Next is the place of the next page. Empty: there is none. A page may be short, or even empty, and have a next one.
	Next string `json:"next"`
}

// matches reports whether a list has an interception.
func (f InterceptionFilter) matches(of *facts) bool {
	return (f.UserID == "" || f.UserID == of.initiator.String()) && (f.Model == "" || f.Model == of.model) &&
		(f.Client == "" || f.Client == of.client) && (f.Provider == "" || f.Provider == of.provider) &&
		(f.Outcome == "" || f.Outcome == of.outcome) && (f.Tool == "" || of.tools[f.Tool] > 0) &&
		(!f.Unpriced || of.sums[unpriced] > 0) && (!f.Failed || of.sums[failed] > 0)
}

// Interceptions returns a page of a list of interceptions. It has no text that anybody wrote.
func (r *Reports) Interceptions(ctx context.Context, v Viewer, f InterceptionFilter) (*InterceptionPage, error) {
	if !v.Admin {
		if v.UserID == "" || f.UserID != "" && f.UserID != v.UserID {
			return nil, ErrNotFound
		}
		f.UserID = v.UserID
	}
	var err error
	if f.Range, err = f.Range.aligned(); err != nil {
		return nil, err
	}
	if f.Limit <= 0 {
		f.Limit = usualPage
	}
	f.Limit = min(f.Limit, mostAPage)
	from, to := f.Range.quarters()
	list := &listing{filter: f, from: from * quarter.Microseconds(), before: to * quarter.Microseconds(), page: &InterceptionPage{}}
	if f.After != "" {
		at, id, _ := strings.Cut(f.After, ".")
		var errAt, errID error
		list.before, errAt = strconv.ParseInt(at, 10, 64)
		list.last, errID = uuid.Parse(id)
		if errAt != nil || errID != nil {
			return nil, ErrPlace
		}
	}
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		if err := list.read(ctx, tx); err != nil {
			return err
		}
		ids := make([]string, len(list.page.Interceptions))
		for i, row := range list.page.Interceptions {
			ids[i] = row.UserID
		}
		names, err := usernames(ctx, tx, ids)
		for i, id := range ids {
			list.page.Interceptions[i].User = names[id]
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list interceptions: %w", err)
	}
	return list.page, nil
}

// listing reads a page. Of a user, or of a group with few users, it reads these users' interceptions. Else the sums that are kept
// tell which quarters have interceptions of the filter's values: it reads these quarters, so no index of each value is needed.
type listing struct {
	filter   InterceptionFilter
	members  members   // If the filter is about groups.
	from     int64     // In microseconds.
	before   int64     // The next one is before this time,
	last     uuid.UUID // or then and has a lower id.
	examined int
	lookups  int // Of quarters.
	page     *InterceptionPage
}

// chunk is how many interceptions are read at a time.
const chunk = 200

func (l *listing) read(ctx context.Context, tx querier) error {
	var err error
	if l.members, err = l.filter.members(ctx, tx); err != nil {
		return err
	}
	kinds := SessionFilter{
		Model: l.filter.Model, Client: l.filter.Client, Provider: l.filter.Provider, Tool: l.filter.Tool, Outcome: l.filter.Outcome,
	}.kinds()
	if l.filter.UserID != "" || l.isOfFew() || len(kinds) == 0 {
		_, err := l.readBack(ctx, tx, l.from)
		return err
	}
	var quarters []int64
	for l.before > l.from {
		if l.examined >= mostExamined {
			l.end()
			return nil
		}
		if len(quarters) == 0 {
			if quarters, err = l.lastQuarters(ctx, tx, kinds); err != nil || len(quarters) == 0 {
				return err
			}
		}
		var from, to int64
		from, to, quarters = stretchOf(quarters)
		l.examined += int(to - from) // Of what was deleted, the sums are still there.
		if end := to * quarter.Microseconds(); end <= l.before {
			l.before, l.last = end, uuid.Nil
		}
		full, err := l.readBack(ctx, tx, from*quarter.Microseconds())
		if err != nil || full {
			return err
		}
		l.before, l.last = from*quarter.Microseconds(), uuid.Nil
	}
	return nil
}

// stretchOf takes those of the quarters, of which the latest is the first, that follow each other without a gap, and returns
// where they begin and end, and the rest.
func stretchOf(quarters []int64) (from, to int64, rest []int64) {
	from, to = quarters[0], quarters[0]+1
	for i, at := range quarters[1:] {
		if at != from-1 {
			return from, to, quarters[i+1:]
		}
		from = at
	}
	return from, to, nil
}

// end ends the page at the place of the list.
func (l *listing) end() { l.page.Next = fmt.Sprintf("%d.%s", l.before, l.last) }

// firstQuarters is how many quarters are looked up at first, for a page that is full soon. Each further time it is eight times
// as many, since a look-up that meets several values reads all of them.
const firstQuarters = 64

// lastQuarters returns the last quarters before the place of the list that have all of the values, the latest first.
func (l *listing) lastQuarters(ctx context.Context, tx querier, kinds []sessionValue) ([]int64, error) {
	upTo := quarterOf(l.before)
	if l.last == uuid.Nil {
		upTo = quarterOf(l.before - 1)
	}
	most := min(firstQuarters<<(3*min(l.lookups, 3)), mostExamined)
	l.lookups++
	return all(ctx, tx, quarterQuery(kinds, quarterOf(l.from), upTo, most), func(rows *sql.Rows) (at int64, err error) {
		err = rows.Scan(&at)
		return at, err
	})
}

// quarterQuery returns the query for the last quarters from one to another one that have all of the values. It has no join: an
// engine that is wrong about how many quarters have a value would read those of one value once for each of the other.
func quarterQuery(kinds []sessionValue, from, upTo int64, most int) query {
	var args arguments
	var has []string
	for _, one := range kinds {
		has = append(has, `SELECT r.at FROM rollups r WHERE r.dimension = `+args.add(int(one.kind))+` AND r.span = 0 AND r.value = `+args.add(one.value)+
			` AND r.requests > 0 AND r.at >= `+args.add(from)+` AND r.at <= `+args.add(upTo))
	}
	return query{strings.Join(has, ` INTERSECT `) + ` ORDER BY at DESC LIMIT ` + args.add(most), args}
}

// readBack reads back to a time, and reports whether the page is full.
func (l *listing) readBack(ctx context.Context, tx querier, from int64) (full bool, err error) {
	for {
		found, err := all(ctx, tx, l.query(from), func(rows *sql.Rows) (*facts, error) { return scanFacts(rows) })
		if err != nil {
			return false, err
		}
		for _, f := range found {
			if len(l.page.Interceptions) == l.filter.Limit || l.examined >= mostExamined {
				l.end()
				return true, nil
			}
			l.examined++
			l.before, l.last = f.startedAt, f.id
			if l.filter.matches(f) && l.filter.isOf(l.members, f) {
				l.page.Interceptions = append(l.page.Interceptions, f.row())
			}
		}
		if len(found) < chunk {
			return false, nil
		}
	}
}

func (l *listing) query(from int64) query {
	if l.filter.UserID == "" && l.isOfFew() {
		return l.queryOfFew(from)
	}
	var args arguments
	text := `SELECT ` + qualified(factsColumns(), "f.") +
		` FROM interceptions i JOIN facts f ON f.interception_id = i.id WHERE `
	if l.filter.UserID != "" {
		text += ofInitiator(&args, l.filter.UserID)
	} else {
		text += `i.started = TRUE`
	}
	return query{text + l.within(&args, from, l.before), args}
}

// ofInitiator is the condition that an interception is a user's.
func ofInitiator(args *arguments, userID string) string {
	user, _ := uuid.Parse(userID) // Another text is nobody's.
	return `i.initiator_id = ` + args.add(user[:])
}

// within is the end of a query for the next interceptions from one time to another, and before the place of the list.
func (l *listing) within(args *arguments, from, to int64) string {
	last := l.last
	if to < l.before {
		last = uuid.Nil
	}
	return ` AND i.started_at >= ` + args.add(from) + ` AND (i.started_at, i.id) < (` + args.add(min(to, l.before)) + `, ` + args.add(last[:]) +
		`) ORDER BY i.started_at DESC, i.id DESC LIMIT ` + args.add(chunk)
}

func (f *facts) row() InterceptionRow {
	row := InterceptionRow{
		ID: f.id.String(), SessionID: f.session, UserID: f.initiator.String(), StartedAt: time.UnixMicro(f.startedAt).UTC(),
		Provider: f.provider, Model: f.model, Client: f.client, Outcome: f.outcome, Tools: f.tools, Figures: f.sums.figures(),
	}
	row.FirstByte = Milliseconds(f.firstByte / 1000)
	return row
}

// Detail is an interception with all that is recorded of it.
type Detail struct {
	Interception *aibridgedserver.Interception `json:"interception"`
	SessionID    int64                         `json:"session_id"` // Zero: nothing was derived of it yet.
	// Costs are those of its token usages, in their order. An answer that was cut before its usage came has no usage, and a
	// cost.
	Costs []prices.Cost `json:"costs"`
	Total prices.Cost   `json:"total"`
}

// Interception returns an interception with all that is recorded of it. If it is another user's, the access log notes it.
func (r *Reports) Interception(ctx context.Context, v Viewer, id string) (*Detail, error) {
	of, err := uuid.Parse(id)
	if err != nil {
		return nil, ErrNotFound
	}
	for i, err := range r.records.Interceptions(ctx, aibridgedserver.InterceptionFilter{ID: of.String()}) {
		if err != nil {
			return nil, err
		}
		if !v.sees(i.InitiatorID) {
			return nil, ErrNotFound
		}
		if err := r.noteAccess(ctx, v, i.InitiatorID, "interception", i.ID); err != nil {
			return nil, err
		}
		return r.detail(ctx, i, of)
	}
	return nil, ErrNotFound
}

func (r *Reports) detail(ctx context.Context, i *aibridgedserver.Interception, id uuid.UUID) (*Detail, error) {
	d := &Detail{Interception: i, Costs: []prices.Cost{}}
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		seen, err := readRecords(ctx, tx, []uuid.UUID{id})
		if err != nil {
			return err
		}
		if found := seen.interceptions[id]; found != nil {
			d.Costs = found.costs(r.book)
			if found.isUnmetered() {
				d.Costs = append(d.Costs, found.unmeteredCost(r.book))
			}
		}
		old, err := readFacts(ctx, tx, []uuid.UUID{id})
		if old[id] != nil {
			d.SessionID = old[id].session
		}
		return err
	})
	for _, c := range d.Costs {
		d.Total.USD = d.Total.USD.Add(c.USD)
		d.Total.Items = append(d.Total.Items, c.Items...)
		d.Total.Estimated = d.Total.Estimated || c.Estimated
	}
	return d, err
}
