package reports

import (
	"context"
	"database/sql"

	"github.com/google/uuid"
)

// oneUser are the sums of one user. Its totals are among those that are kept of all users.
type oneUser struct {
	kept

	user uuid.UUID
}

// The parts that the sums of a user are kept in.
const (
	ofRequests = iota // By provider, model, client and outcome.
	ofTools
)

// userPlace is where a sum of a user is kept.
type userPlace struct {
	user                          uuid.UUID
	part                          int
	span                          span
	at                            int64
	provider, model, client, name string // The name is the outcome, or the tool.
}

// key returns the columns of the place.
func (p userPlace) key() []any {
	return []any{p.user[:], int64(p.part), int64(p.span), p.at, p.provider, p.model, p.client, p.name}
}

// userKey are the names of the columns of a place.
const userKey = "initiator_id, part, span, at, provider, model, client, name"

// userSpans are the spans that sums of users are kept for.
func userSpans() [2]span { return [...]span{quarters, days} }

// eachOfUser calls add with each place in which an interception counts for its user, and with what it adds.
func (f *facts) eachOfUser(add func(at userPlace, sums *tally)) {
	for _, span := range userSpans() {
		at := userPlace{user: f.initiator, span: span, at: span.begin(quarterOf(f.startedAt))}
		for tool, times := range f.tools {
			at.part, at.name = ofTools, tool
			add(at, &tally{requests: 1, calls: times})
		}
		at.part, at.provider, at.model, at.client, at.name = ofRequests, f.provider, f.model, f.client, f.outcome
		add(at, &f.sums)
	}
}

// userColumn returns the part and the column of it in which the values of a dimension are.
func userColumn(of Dimension) (part int, column string) {
	switch of {
	case ByClient:
		return ofRequests, "client"
	case ByProvider:
		return ofRequests, "provider"
	case ByOutcome:
		return ofRequests, "name"
	case ByTool:
		return ofTools, "name"
	default:
		return ofRequests, "model"
	}
}

func (u oneUser) total(ctx context.Context, over Range) (Figures, error) {
	return u.one(ctx, ByUser, u.user.String(), over)
}

func (u oneUser) values(ctx context.Context, of Dimension, over Range) ([]Row, error) {
	if of == ByUser {
		total, err := u.total(ctx, over)
		name := u.user.String()
		return dearest(map[string]*Row{name: {Value: name, Name: name, Figures: total}}), err
	}
	from, to := over.quarters()
	return addUp(ctx, u.tx, days.stretches(from, to), func(part stretch) query { return userValuesQuery(u.user, of, part) })
}

func userValuesQuery(user uuid.UUID, of Dimension, over stretch) query {
	part, column := userColumn(of)
	return query{`SELECT ` + column + `, ` + sumList(columns) + ` FROM user_rollups WHERE initiator_id = $1 AND part = $2 AND span = $3 AND at >= $4
		AND at < $5 GROUP BY ` + column, arguments{user[:], part, int(over.span), over.from, over.to}}
}

func (u oneUser) days(ctx context.Context, q Query, of Dimension, values []Row) ([]Day, error) {
	list := newDays(q)
	shown := map[string]bool{}
	for _, row := range values {
		shown[row.Value] = true
	}
	for _, run := range list.runs() {
		if err := u.readTotals(ctx, list, run, ByUser, u.user.String()); err != nil {
			return nil, err
		}
		if of == ByUser {
			continue
		}
		_, err := all(ctx, u.tx, userDaysQuery(u.user, of, run), func(rows *sql.Rows) (day int, err error) {
			var value string
			f, err := scanSums(rows, sessionWide, &day, &value)
			if err == nil && shown[value] {
				list.days[run.first+day].By[value] = f
			}
			return day, err
		})
		if err != nil {
			return nil, err
		}
	}
	if name := u.user.String(); of == ByUser && shown[name] {
		list.onlyValue(name)
	}
	return list.withOthers(), nil
}

// userDaysQuery returns the query for the sums of each day of a run and each value.
func userDaysQuery(user uuid.UUID, of Dimension, r run) query {
	part, column := userColumn(of)
	span := quarters
	if r.length == days.length() && r.from == days.begin(r.from) {
		span = days
	}
	return query{`SELECT (at - $4) / $6, ` + column + `, ` + sumList(sessionWide) + ` FROM user_rollups WHERE initiator_id = $1 AND part = $2
		AND span = $3 AND at >= $4 AND at < $5 GROUP BY (at - $4) / $6, ` + column, arguments{user[:], part, int(span), r.from, r.to, r.length}}
}
