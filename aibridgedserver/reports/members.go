package reports

import (
	"context"
	"database/sql"
	"strconv"
	"strings"
	"time"
)

// mostMerged is how many memberships a group may have for its list of interceptions to be merged from those of its users. The users
// of a larger group are found among all.
const mostMerged = 50

// members are memberships by user.
type members map[string][]membership

// belongs reports whether a user belongs to a group at an instant or, for [NoGroup], to any.
func (m members) belongs(user, group string, at time.Time) bool {
	for _, one := range m[user] {
		if (group == NoGroup || one.group == group) && !at.Before(one.From) && at.Before(one.To) {
			return true
		}
	}
	return false
}

// members reads the memberships that a filter asks for.
func (f InterceptionFilter) members(ctx context.Context, tx querier) (members, error) {
	var found []membership
	var err error
	switch {
	case f.Ungrouped:
		found, err = readMemberships(ctx, tx, f.Range)
	case f.Group != "":
		found, err = all(ctx, tx, groupQuery(f.Group, f.Range), func(rows *sql.Rows) (membership, error) { return scanMembership(rows, f.Range) })
	}
	by := members{}
	for _, one := range found {
		by[one.user] = append(by[one.user], one)
	}
	return by, err
}

// isOf reports whether the groups of the user who began an interception are those that a filter asks for.
func (f InterceptionFilter) isOf(m members, of *facts) bool {
	user, at := of.initiator.String(), time.UnixMicro(of.startedAt)
	return (f.Group == "" || m.belongs(user, f.Group, at)) && (!f.Ungrouped || !m.belongs(user, NoGroup, at))
}

// isOfFew reports whether a list is of a group with so few users that theirs can be merged.
func (l *listing) isOfFew() bool {
	memberships := 0
	for _, of := range l.members {
		memberships += len(of)
	}
	return l.filter.Group != "" && !l.filter.Ungrouped && memberships <= mostMerged
}

// queryOfFew returns the query for the next interceptions of the users of a group, each for the times in which the user belongs to it.
func (l *listing) queryOfFew(from int64) query {
	var args arguments
	var lists []string
	for user, of := range l.members {
		for _, one := range of {
			lists = append(lists, `SELECT * FROM (SELECT i.started_at, i.id FROM interceptions i WHERE `+ofInitiator(&args, user)+
				l.within(&args, max(from, one.From.UnixMicro()), one.To.UnixMicro())+`) m`+strconv.Itoa(len(lists)))
		}
	}
	if len(lists) == 0 {
		lists = []string{`SELECT i.started_at, i.id FROM interceptions i WHERE FALSE`}
	}
	return query{`SELECT ` + qualified(factsColumns(), "f.") + ` FROM (SELECT * FROM (` + strings.Join(lists, ` UNION ALL `) +
		`) e ORDER BY e.started_at DESC, e.id DESC LIMIT ` + args.add(chunk) + `) e JOIN facts f ON f.interception_id = e.id
		ORDER BY e.started_at DESC, e.id DESC`, args}
}
