package reports

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"
)

// mostOfOneUser bounds how many interceptions of a user are read for one report. What is older is left out.
const mostOfOneUser = 250_000

// oneUser are the sums of one user, which are not kept: they are added up from the facts of the user's interceptions.
type oneUser struct{ facts []*facts }

func selectOfUser() string {
	return `SELECT ` + qualified(factsColumns(), "f.") + `
	FROM interceptions i JOIN facts f ON f.interception_id = i.id
	WHERE i.initiator_id = $1 AND i.started_at >= $2 AND i.started_at < $3 ORDER BY i.started_at DESC, i.id DESC LIMIT $4`
}

func ofUserQuery(user uuid.UUID, over Range) query {
	from, to := over.quarters()
	return query{selectOfUser(), arguments{user[:], from * quarter.Microseconds(), to * quarter.Microseconds(), mostOfOneUser}}
}

func readOneUser(ctx context.Context, tx querier, user uuid.UUID, over Range) (oneUser, error) {
	found, err := all(ctx, tx, ofUserQuery(user, over), func(rows *sql.Rows) (*facts, error) { return scanFacts(rows) })
	return oneUser{found}, err
}

func (u oneUser) within(over Range) func(yield func(*facts) bool) {
	from, to := over.quarters()
	return func(yield func(*facts) bool) {
		for _, f := range u.facts {
			if q := quarterOf(f.startedAt); q >= from && q < to && !yield(f) {
				return
			}
		}
	}
}

func (u oneUser) total(_ context.Context, over Range) (total Figures, err error) {
	var sum wide
	for f := range u.within(over) {
		sum.add(f.sums)
	}
	return sum.figures(), nil
}

func (u oneUser) values(_ context.Context, of Dimension, over Range) ([]Row, error) {
	byValue := map[string]*wide{}
	for f := range u.within(over) {
		for _, p := range f.parts() {
			if p.dimension == of {
				if byValue[p.value] == nil {
					byValue[p.value] = &wide{}
				}
				byValue[p.value].add(p.sums)
			}
		}
	}
	rows := map[string]*Row{}
	for value, sum := range byValue {
		rows[value] = &Row{Value: value, Name: value, Figures: sum.figures()}
	}
	return dearest(rows), nil
}

func (u oneUser) days(_ context.Context, q Query, of Dimension, values []Row) ([]Day, error) {
	list := newDays(q)
	totals := map[*Day]*wide{}
	parts := map[*Day]map[string]*wide{}
	for f := range u.within(q.Range) {
		day := list.dayOf(time.UnixMicro(f.startedAt))
		if day == nil {
			continue
		}
		if totals[day] == nil {
			totals[day], parts[day] = &wide{}, map[string]*wide{}
		}
		totals[day].add(f.sums)
		for _, p := range f.parts() {
			if p.dimension != of {
				continue
			}
			if parts[day][p.value] == nil {
				parts[day][p.value] = &wide{}
			}
			parts[day][p.value].add(p.sums)
		}
	}
	for day, sum := range totals {
		day.Total = sum.figures()
		for _, row := range values {
			if sum := parts[day][row.Value]; sum != nil {
				day.By[row.Value] = sum.figures()
			}
		}
	}
	return list.withOthers(), nil
}
