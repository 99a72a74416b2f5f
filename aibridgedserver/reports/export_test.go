package reports

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/coder/aibridged/aibridgedserver"
)

// MostMerged is how many memberships a group has at most whose list is merged from those of its users.
const MostMerged = mostMerged

// NamedQuery is what a test of query plans needs.
type NamedQuery struct {
	Text string
	Args []any
	// Sorts says that the engine sorts a bounded number of rows.
	Sorts bool
}

// Queries returns queries of all kinds that reports make, by what they are for.
func Queries(index aibridgedserver.Search) map[string]NamedQuery {
	user, id := uuid.NewString(), uuid.New()
	queries := map[string]NamedQuery{}
	add := func(name string, q query, sorts bool) {
		queries[name] = NamedQuery{q.text, q.args, sorts}
	}
	month := Range{time.UnixMicro(0), time.UnixMicro(0).Add(30 * 24 * time.Hour)}
	add("values of a stretch", valuesQuery(ByUser, stretch{days, 0, 96}), true)
	add("days", daysQuery(ByModel, "m", run{0, 96, 96, 0}, columns), true)
	for _, of := range []Dimension{ByModel, ByTool} {
		add(fmt.Sprintf("values of a user's stretch by %d", of), userValuesQuery(id, of, stretch{days, 0, 96}), true)
		add(fmt.Sprintf("a user's days by %d", of), userDaysQuery(id, of, run{0, 96, 96, 0}), true)
	}
	add("quarters of a value", quarterQuery([]sessionValue{{0, ByModel, "m"}}, 0, 96, 64), false)
	add("quarters of two values", quarterQuery([]sessionValue{{0, ByModel, "m"}, {0, ByTool, "t"}}, 0, 96, 64), true)
	add("number of sessions with a value", numberQuery(sessionValue{0, ByModel, "m"}, month), false)
	add("steps", stepsQuery(1, 0, id), false)
	add("search", searchedSessions(index, []string{"x"}, 5, 10), false)
	for name, f := range map[string]SessionFilter{
		"all": {}, "user": {UserID: user}, "model": {Model: "m"}, "model and tool": {Model: "m", Tool: "t"}, "user and model": {UserID: user, Model: "m"},
	} {
		list := sessionList{SessionFilter: f, kinds: f.kinds(), before: sessionPlace{5, 5}, most: 9}
		add("sessions: "+name, list.query(), true)
		add("last of sessions: "+name, list.lastQuery(), false)
		add("some sessions: "+name, sessionsOf(f, []int64{1, 2}), true)
		for _, d := range []dearestList{{}, {hasRare: f.Model != "" && f.UserID == ""}, {byCost: f.UserID == ""}} {
			d.SessionFilter, d.kinds, d.most = f, f.kinds(), 9
			add("last of "+name, d.lastQuery(), false)
			add(fmt.Sprintf("dearest sessions: %s, %t, %t", name, d.hasRare, d.byCost), d.query(), true)
		}
	}
	for name, f := range map[string]InterceptionFilter{"all": {}, "user": {UserID: user}} {
		add("interceptions: "+name, (&listing{filter: f}).query(0), false)
	}
	red := membership{user, "red", month}
	few := &listing{filter: InterceptionFilter{Group: "red"}, members: members{user: {red, red}, id.String(): {red}}}
	add("interceptions: group", few.query(0), true)
	add("one value", oneQuery(ByUser, user, stretch{days, 0, 96}), false)
	for name, q := range map[string]Query{"": {Range: month}, " of a user": {Range: month, UserID: user}} {
		for _, beganIn := range []bool{false, true} {
			add(fmt.Sprintf("crossing sessions%s, %t", name, beganIn), crossingQuery(q, beganIn), true)
		}
		add("number of sessions"+name, countQuery(SessionFilter{Range: q.Range, UserID: q.UserID}, 10), false)
		add("parts of sessions"+name, partsQuery(q, []int64{1, 2}), true)
		add("first bytes"+name, firstBytesQuery(q, []int64{1, 2}), false)
	}
	for n, q := range findQueries(Viewer{UserID: user}, user) {
		add(fmt.Sprintf("found sessions %d", n), q, false)
	}
	collect := func(name, text string) {
		_ = byIDs([]uuid.UUID{id, id}, text, func(q query) error { add(name, q, false); return nil })
	}
	collect("records", selectInterceptions+`id`)
	collect("records of a background response", selectInterceptions+`background_id`)
	collect("facts", `SELECT `+factsColumns()+` FROM facts WHERE interception_id`)
	collect("counted", selectCounted)
	add("spent", spentQuery([]any{user, user}, stretch{days, 0, 96}), false)
	add("group", groupQuery("red", month), false)
	collect("keys", `SELECT key, session FROM session_keys WHERE key`)
	collect("deleted facts", `DELETE FROM facts WHERE interception_id`)
	add("removed keys", query{`DELETE FROM session_keys WHERE session = $1`, arguments{1}}, false)
	add("removed values", query{`DELETE FROM session_values WHERE session = $1`, arguments{1}}, false)
	add("changed sessions", query{selectSessionsOf() + ` IN ($1, $2)`, arguments{1, 2}}, false)
	add("notes", query{`SELECT seq, ids FROM touched ORDER BY seq LIMIT $1`, arguments{1}}, false)
	return queries
}

// Examining returns a page of a list of sessions that examines at most so many.
func (r *Reports) Examining(ctx context.Context, f SessionFilter, most int) (page *SessionPage, err error) {
	f.Range = Range{time.UnixMicro(0), time.UnixMicro(math.MaxInt64)}
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		page, err = listSessions(ctx, tx, f, most)
		return err
	})
	return page, err
}

// DearestInAllWays returns the dearest sessions of a filter that has a range, found in each way that there is: all of their pages, of
// which those by cost examine at most so many sessions.
func (r *Reports) DearestInAllWays(ctx context.Context, f SessionFilter, most int64) (ways [][]Session, err error) {
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		for _, d := range []dearestList{{}, {hasRare: len(f.kinds()) > 0}, {byCost: f.UserID == ""}} {
			d.SessionFilter, d.kinds, d.most, d.below = f, f.kinds(), most, dearestPlace{math.MaxInt64, math.MaxInt64}
			var way []Session
			for more := true; more; {
				page, err := d.page(ctx, tx)
				if err != nil {
					return err
				}
				way = append(way, page.Sessions...)
				if more = page.Next != ""; more {
					if d.below, err = parseDearestPlace(page.Next); err != nil {
						return err
					}
				}
			}
			ways = append(ways, way)
		}
		return nil
	})
	return ways, err
}

// ReadsInOrder reports whether a plan reads a table, an index or what a query within it yields from the front, which is as good as
// a search where a limit ends it.
func ReadsInOrder(plan string) bool {
	inOrder := 0
	for step := range strings.SplitSeq(plan, "; ") {
		name, isQuery := strings.CutPrefix(step, "CO-ROUTINE ")
		if isQuery {
			inOrder += strings.Count(plan, "SCAN "+name)
		}
	}
	return strings.Count(plan, "SCAN") == inOrder || plan == "SCAN touched" || strings.HasPrefix(plan, "SCAN prompt_search VIRTUAL TABLE INDEX")
}
