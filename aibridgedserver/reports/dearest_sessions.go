package reports

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// mostSorted is how many sessions are sorted by their cost for one report. Beyond that, sessions are read by their cost until there
// are enough, or until as many are examined for one page.
const mostSorted = 20_000

// dearestPlace is where a session stands in a list of the dearest. The list goes on with those that cost less.
type dearestPlace struct{ cost, id int64 }

func parseDearestPlace(text string) (p dearestPlace, err error) {
	if text == "" {
		return dearestPlace{math.MaxInt64, math.MaxInt64}, nil
	}
	cost, id, ok := strings.Cut(text, "_")
	var errCost, errID error
	p.cost, errCost = strconv.ParseInt(cost, 10, 64)
	p.id, errID = strconv.ParseInt(id, 10, 64)
	if !ok || errCost != nil || errID != nil {
		return p, ErrPlace
	}
	return p, nil
}

func (p dearestPlace) String() string { return fmt.Sprintf("%d_%d", p.cost, p.id) }

func scanDearestPlace(rows *sql.Rows) (p dearestPlace, err error) {
	err = rows.Scan(&p.cost, &p.id)
	return p, err
}

// dearestSessions lists the dearest sessions of a filter, for which it examines at most so many if the filter keeps neither few
// nor those of one user.
func dearestSessions(ctx context.Context, tx querier, f SessionFilter, most int64) (*SessionPage, error) {
	d, err := newDearestList(ctx, tx, f, most)
	if err != nil {
		return nil, err
	}
	return d.page(ctx, tx)
}

// dearestList is how the dearest sessions of a filter are found: those of a user, of a rare value or of a short range are sorted. For
// others, sessions are read by their cost.
type dearestList struct {
	SessionFilter

	kinds           []sessionValue // The rarest first.
	below           dearestPlace
	hasRare, byCost bool
	most            int64 // How many sessions are examined, if they are read by their cost.
}

func newDearestList(ctx context.Context, tx querier, f SessionFilter, most int64) (dearestList, error) {
	d := dearestList{SessionFilter: f, most: most}
	var err error
	if d.below, err = parseDearestPlace(f.After); err != nil {
		return d, err
	}
	var fewest int
	if d.kinds, fewest, err = f.rarest(ctx, tx); err != nil {
		return d, err
	}
	if d.hasRare = fewest <= mostSorted; d.hasRare || f.UserID != "" {
		return d, nil
	}
	began, err := count(ctx, tx, countQuery(f, mostSorted+1))
	d.byCost = began > mostSorted
	return d, err
}

// query returns the query for a page and one session more.
func (d dearestList) query() query {
	var args arguments
	kinds, started, from := d.kinds, `s.started_at`, `sessions s WHERE true`
	switch {
	case d.UserID != "":
		from = `sessions s WHERE ` + ofUser(&args, d.UserID)
	case d.hasRare:
		started = `v.started_at`
		from = `session_values v JOIN sessions s ON s.id = v.session WHERE v.kind = ` + args.add(int(kinds[0].kind)) + ` AND v.value = ` +
			args.add(kinds[0].value)
		kinds = kinds[1:]
	case d.byCost:
		from = `(` + d.examined(&args) + args.add(d.most) + `) s WHERE true`
	}
	below := ``
	if !d.byCost {
		below = ` AND (s.cost, s.id) < (` + args.add(d.below.cost) + `, ` + args.add(d.below.id) + `)`
	}
	return query{selectSessions() + ` FROM sessions s WHERE s.id IN (SELECT s.id FROM ` + from + ` AND ` + started + ` >= ` +
		args.add(d.Range.From.UnixMicro()) + ` AND ` + started + ` < ` + args.add(d.Range.To.UnixMicro()) + below + having(&args, kinds) +
		` ORDER BY s.cost DESC, s.id DESC LIMIT ` + args.add(d.Limit+1) + `) ORDER BY s.cost DESC, s.id DESC`, args}
}

// examined returns the query for the dearest sessions of all.
func (d dearestList) examined(args *arguments) string {
	return `SELECT s.cost, s.id, s.started_at FROM sessions s WHERE (s.cost, s.id) < (` + args.add(d.below.cost) + `, ` + args.add(d.below.id) +
		`) ORDER BY s.cost DESC, s.id DESC LIMIT `
}

// lastQuery returns the query for the last place that a page examines, if it examines all that it may.
func (d dearestList) lastQuery() query {
	var args arguments
	return query{`SELECT e.cost, e.id FROM (` + d.examined(&args) + `1 OFFSET ` + args.add(d.most-1) + `) e`, args}
}

func (d dearestList) page(ctx context.Context, tx querier) (*SessionPage, error) {
	found, err := all(ctx, tx, d.query(), scanSessionRow)
	if err != nil {
		return nil, err
	}
	page := &SessionPage{Sessions: found}
	var last []dearestPlace
	switch {
	case len(found) > d.Limit:
		page.Sessions = found[:d.Limit]
		last, err = all(ctx, tx, query{`SELECT cost, id FROM sessions WHERE id = $1`, arguments{found[d.Limit-1].ID}}, scanDearestPlace)
	case d.byCost:
		last, err = all(ctx, tx, d.lastQuery(), scanDearestPlace)
	}
	if len(last) > 0 {
		page.Next = last[0].String()
	}
	return page, err
}
