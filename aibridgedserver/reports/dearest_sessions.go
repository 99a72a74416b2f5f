package reports

import (
	"context"
)

// mostSorted is how many sessions are sorted by their cost for one report. Beyond that, all sessions are read by their cost until
// there are enough in the range.
const mostSorted = 20_000

// dearestSessions returns the dearest sessions of a filter.
func dearestSessions(ctx context.Context, tx querier, f SessionFilter) ([]Session, error) {
	kinds, fewest, err := f.rarest(ctx, tx)
	if err != nil {
		return nil, err
	}
	d := dearestList{SessionFilter: f, kinds: kinds, hasRare: fewest <= mostSorted}
	if f.UserID == "" && !d.hasRare {
		began, err := count(ctx, tx, countQuery(f, mostSorted+1))
		if err != nil {
			return nil, err
		}
		d.byCost = began > mostSorted
	}
	return all(ctx, tx, d.query(), scanSessionRow)
}

// dearestList is how the dearest sessions of a filter are found: those of a user, of a rare value or of a short range are sorted. For
// others, sessions are read by their cost.
type dearestList struct {
	SessionFilter

	kinds           []sessionValue // The rarest first.
	hasRare, byCost bool
}

func (d dearestList) query() query {
	var args arguments
	text := selectSessions() + ` FROM sessions s WHERE s.id IN (SELECT s.id FROM `
	kinds, started := d.kinds, `s.started_at`
	switch {
	case d.UserID != "":
		text += `sessions s WHERE ` + ofUser(&args, d.UserID)
	case d.hasRare:
		started = `v.started_at`
		text += `session_values v JOIN sessions s ON s.id = v.session WHERE v.kind = ` + args.add(int(kinds[0].kind)) + ` AND v.value = ` +
			args.add(kinds[0].value)
		kinds = kinds[1:]
	default:
		text += `sessions s WHERE true`
	}
	over := started + ` >= ` + args.add(d.Range.From.UnixMicro()) + ` AND ` + started + ` < ` + args.add(d.Range.To.UnixMicro())
	if d.byCost {
		over = unindexed(over)
	}
	return query{text + ` AND ` + over + having(&args, kinds) + ` ORDER BY s.cost DESC, s.id DESC LIMIT ` + args.add(d.Limit) +
		`) ORDER BY s.cost DESC, s.id DESC`, args}
}
