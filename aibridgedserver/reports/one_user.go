package reports

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"
)

// mostOfOneUser bounds how many interceptions of a user are read for one report. What is older is in totals alone.
const mostOfOneUser = 250_000

// oneUser are the sums of one user. Those of values are not kept: they are added up from the facts of the user's
// interceptions. Totals are kept, and have what was deleted, too.
type oneUser struct {
	kept

	user  string
	facts []*facts
}

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
	return oneUser{kept{tx}, user.String(), found}, err
}

// sumsByValue are the sums of each value of a dimension.
type sumsByValue map[string]*wide

func (s sumsByValue) add(value string, sums *tally) {
	sum := s[value]
	if sum == nil {
		sum = &wide{}
		s[value] = sum
	}
	sum.add(*sums)
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

func (u oneUser) total(ctx context.Context, over Range) (Figures, error) {
	return u.one(ctx, ByUser, u.user, over)
}

func (u oneUser) values(ctx context.Context, of Dimension, over Range) ([]Row, error) {
	if of == ByUser {
		total, err := u.total(ctx, over)
		return dearest(map[string]*Row{u.user: {Value: u.user, Name: u.user, Figures: total}}), err
	}
	byValue := sumsByValue{}
	for f := range u.within(over) {
		f.eachPart(of, byValue.add)
	}
	rows := map[string]*Row{}
	for value, sum := range byValue {
		rows[value] = &Row{Value: value, Name: value, Figures: sum.figures()}
	}
	return dearest(rows), nil
}

func (u oneUser) days(ctx context.Context, q Query, of Dimension, values []Row) ([]Day, error) {
	list := newDays(q)
	for _, run := range list.runs() {
		if err := u.readTotals(ctx, list, run, ByUser, u.user); err != nil {
			return nil, err
		}
	}
	parts := map[*Day]sumsByValue{}
	for f := range u.within(q.Range) {
		day := list.dayOf(time.UnixMicro(f.startedAt))
		if day == nil {
			continue
		}
		if parts[day] == nil {
			parts[day] = sumsByValue{}
		}
		f.eachPart(of, parts[day].add)
	}
	for day, sums := range parts {
		for _, row := range values {
			if sum := sums[row.Value]; sum != nil {
				day.By[row.Value] = sum.figures()
			}
		}
	}
	return list.withOthers(), nil
}
