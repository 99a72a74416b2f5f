package reports

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
)

// sessionPlace is where in a list a session stands. The list goes on with those that began before.
type sessionPlace struct{ startedAt, id int64 }

// parsePlace returns the place that a page has given.
func parsePlace(text string) (sessionPlace, error) {
	at, id, ok := strings.Cut(text, ".")
	var p sessionPlace
	var errAt, errID error
	p.startedAt, errAt = strconv.ParseInt(at, 10, 64)
	p.id, errID = strconv.ParseInt(id, 10, 64)
	if !ok || errAt != nil || errID != nil {
		return sessionPlace{}, ErrPlace
	}
	return p, nil
}

func (p sessionPlace) String() string { return fmt.Sprintf("%d.%d", p.startedAt, p.id) }

// sessionList is how a list of sessions without a text is read: those that have its first condition, in their order, of which
// those are kept that have the others.
type sessionList struct {
	SessionFilter

	kinds  []sessionValue // The rarest first.
	before sessionPlace
	most   int // How many sessions are examined.
}

// examined returns the query for the places of the sessions that have the first condition, the latest first, and what the other
// conditions are.
func (l sessionList) examined(args *arguments) (text string, others []sessionValue) {
	kinds := l.kinds
	started, id, from := `s.started_at`, `s.id`, ` FROM sessions s WHERE true`
	switch {
	case l.UserID != "":
		from = ` FROM sessions s WHERE ` + ofUser(args, l.UserID)
	case len(kinds) > 0:
		started, id = `v.started_at`, `v.session`
		from = ` FROM session_values v WHERE v.kind = ` + args.add(int(kinds[0].kind)) + ` AND v.value = ` + args.add(kinds[0].value)
		kinds = kinds[1:]
	}
	return `SELECT ` + started + ` AS started_at, ` + id + ` AS id` + from + ` AND ` + started + ` >= ` + args.add(l.Range.From.UnixMicro()) +
		` AND (` + started + `, ` + id + `) < (` + args.add(l.before.startedAt) + `, ` + args.add(l.before.id) + `) ORDER BY ` + started + ` DESC, ` +
		id + ` DESC LIMIT `, kinds
}

// query returns the query for a page and one session more.
func (l sessionList) query() query {
	var args arguments
	places, others := l.examined(&args)
	most := l.Limit + 1
	if len(others) > 0 {
		most = l.most
	}
	return query{selectSessions() + ` FROM (` + places + args.add(most) + `) e JOIN sessions s ON s.id = e.id WHERE true` + having(&args, others) +
		` ORDER BY e.started_at DESC, e.id DESC LIMIT ` + args.add(l.Limit+1), args}
}

// lastQuery returns the query for the last place that a page examines, if it examines all that it may.
func (l sessionList) lastQuery() query {
	var args arguments
	places, _ := l.examined(&args)
	return query{places + `1 OFFSET ` + args.add(l.most-1), args}
}

// listSessions lists the sessions of a filter without a text, the latest first. If the filter has several conditions, a page examines
// at most so many sessions, and may be short.
func listSessions(ctx context.Context, tx querier, f SessionFilter, most int) (*SessionPage, error) {
	list := sessionList{SessionFilter: f, kinds: f.kinds(), before: sessionPlace{startedAt: f.Range.To.UnixMicro()}, most: most}
	var err error
	if f.After != "" {
		if list.before, err = parsePlace(f.After); err != nil {
			return nil, err
		}
	}
	if len(list.kinds) > 1 && f.UserID == "" {
		if list.kinds, _, err = f.rarest(ctx, tx); err != nil {
			return nil, err
		}
	}
	page := &SessionPage{}
	if page.Sessions, err = all(ctx, tx, list.query(), scanSessionRow); err != nil {
		return nil, err
	}
	if len(page.Sessions) > f.Limit {
		page.Sessions = page.Sessions[:f.Limit]
		last := page.Sessions[f.Limit-1]
		page.Next = sessionPlace{last.StartedAt.UnixMicro(), last.ID}.String()
		return page, nil
	}
	last, err := all(ctx, tx, list.lastQuery(), func(rows *sql.Rows) (p sessionPlace, err error) {
		err = rows.Scan(&p.startedAt, &p.id)
		return p, err
	})
	if len(last) > 0 {
		page.Next = last[0].String()
	}
	return page, err
}
