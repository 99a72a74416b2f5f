package reports

import (
	"context"
	"database/sql"
	"slices"
	"time"
)

// NoGroup is the value of what users did while they belonged to no group.
const NoGroup = ""

// membership is a time in which a user belongs to a group.
type membership struct {
	user, group string
	Range
}

// byGroup splits a range by group: each has the sums of its users for the time in which they belong to it.
func byGroup(ctx context.Context, tx querier, s sums, q Query) ([]Row, int, error) {
	memberships, err := readMemberships(ctx, tx, q.Range)
	if err != nil {
		return nil, 0, err
	}
	// Most users belong to the same groups all the time, so few ranges differ.
	known := map[Range][]Row{}
	users := func(over Range) (rows []Row, err error) {
		if _, ok := known[over]; !ok {
			known[over], err = s.values(ctx, ByUser, over)
		}
		return known[over], err
	}
	sums := map[string]*Row{}
	add := func(group, user string, over Range) error {
		rows, err := users(over)
		if sums[group] == nil {
			sums[group] = &Row{Value: group, Name: group}
		}
		if n := slices.IndexFunc(rows, func(row Row) bool { return row.Value == user }); n >= 0 {
			sums[group].Add(rows[n].Figures)
		}
		return err
	}
	for _, m := range memberships {
		if err := add(m.group, m.user, m.Range); err != nil {
			return nil, 0, err
		}
	}
	whole := Range{q.From.UTC(), q.To.UTC()}
	everybody, err := users(whole)
	if err != nil {
		return nil, 0, err
	}
	for _, user := range everybody {
		for _, over := range without(whole, memberships, user.Value) {
			if err := add(NoGroup, user.Value, over); err != nil {
				return nil, 0, err
			}
		}
	}
	return dearest(sums), 0, nil
}

func readMemberships(ctx context.Context, tx querier, over Range) ([]membership, error) {
	return all(ctx, tx, query{
		`SELECT user_id, name, from_at, until_at FROM user_groups WHERE from_at < $1 AND (until_at IS NULL OR until_at > $2)`,
		arguments{over.To.UnixMicro(), over.From.UnixMicro()},
	}, func(rows *sql.Rows) (membership, error) { return scanMembership(rows, over) })
}

// scanMembership reads the part of a membership that is within a range.
func scanMembership(rows *sql.Rows, over Range) (m membership, err error) {
	var from int64
	var until sql.NullInt64
	err = rows.Scan(&m.user, &m.group, &from, &until)
	m.Range = Range{over.From.UTC(), over.To.UTC()}
	if begin := time.UnixMicro(from).UTC(); begin.After(m.From) {
		m.From = begin
	}
	if end := time.UnixMicro(until.Int64).UTC(); until.Valid && end.Before(m.To) {
		m.To = end
	}
	return m, err
}

// without returns the parts of a range in which a user belongs to no group.
func without(over Range, memberships []membership, user string) (parts []Range) {
	var own []Range
	for _, m := range memberships {
		if m.user == user {
			own = append(own, m.Range)
		}
	}
	slices.SortFunc(own, func(a, b Range) int { return a.From.Compare(b.From) })
	at := over.From
	for _, r := range own {
		if r.From.After(at) {
			parts = append(parts, Range{at, r.From})
		}
		if r.To.After(at) {
			at = r.To
		}
	}
	if at.Before(over.To) {
		parts = append(parts, Range{at, over.To})
	}
	return parts
}
