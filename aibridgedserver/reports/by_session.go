package reports

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"slices"
	"strconv"
	"strings"
)

// bySession splits a range by session: what each of them did within the range. Most sessions lie in it as a whole, and have
// their sums. Of those that began before it or went on behind it, the interceptions in it are added up.
func bySession(ctx context.Context, tx querier, _ sums, q Query) (rows []Row, left int, err error) {
	crossing, err := crossingSessions(ctx, tx, q)
	if err != nil {
		return nil, 0, err
	}
	filter := SessionFilter{Range: q.Range, UserID: q.UserID}
	filter.Limit = q.Limit + len(crossing)
	dearest, err := dearestSessions(ctx, tx, filter, math.MaxInt64)
	if err != nil {
		return nil, 0, err
	}
	began, err := count(ctx, tx, countQuery(filter, math.MaxInt64))
	if err != nil {
		return nil, 0, err
	}
	for _, s := range dearest.Sessions {
		if _, isCrossing := crossing[s.ID]; !isCrossing {
			rows = append(rows, s.row(s.Figures))
		}
	}
	within, beganWithin, err := partsOf(ctx, tx, q, crossing)
	if err != nil {
		return nil, 0, err
	}
	sessions := began - beganWithin + len(within)
	rows = append(rows, within...)
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Or(b.USD.Cmp(a.USD), cmp.Compare(b.Requests, a.Requests)) })
	rows = rows[:min(len(rows), q.Limit)]
	return rows, sessions - len(rows), setFirstBytes(ctx, tx, q, rows)
}

func (s Session) row(f Figures) Row {
	return Row{Value: strconv.FormatInt(s.ID, 10), Name: s.Title, Figures: f}
}

// crossingSessions returns the sessions that a query's range has a part of, and whether each of them began in it.
func crossingSessions(ctx context.Context, tx querier, q Query) (map[int64]bool, error) {
	crossing := map[int64]bool{}
	for beganIn, one := range map[bool]query{false: crossingQuery(q, false), true: crossingQuery(q, true)} {
		_, err := all(ctx, tx, one, func(rows *sql.Rows) (id int64, err error) {
			err = rows.Scan(&id)
			crossing[id] = beganIn
			return id, err
		})
		if err != nil {
			return nil, err
		}
	}
	return crossing, nil
}

// crossingQuery returns the query for the sessions that began before a range and were used in it or later, or that began in it
// and were used later. They are found by when they were last used: most of those that began in a long range ended in it.
func crossingQuery(q Query, beganIn bool) query {
	var args arguments
	from, to := args.add(q.From.UnixMicro()), args.add(q.To.UnixMicro())
	used, began := from, `s.started_at < `+from+` AND s.started_at < `+to
	if beganIn {
		used, began = to, `s.started_at >= `+from+` AND s.started_at < `+to
	}
	text := `SELECT s.id FROM sessions s WHERE s.last_at >= ` + used + ` AND ` + unindexed(began)
	if q.UserID != "" {
		text += ` AND ` + ofUser(&args, q.UserID)
	}
	return query{text, args}
}

// unindexed returns a condition for which no engine uses an index.
func unindexed(condition string) string { return `CASE WHEN ` + condition + ` THEN 1 ELSE 0 END = 1` }

// countQuery returns the query for how many sessions began in a range, up to a number.
func countQuery(f SessionFilter, most int64) query {
	var args arguments
	text := `SELECT count(*) FROM (SELECT 1 FROM sessions s WHERE s.started_at >= ` + args.add(f.Range.From.UnixMicro()) + ` AND s.started_at < ` +
		args.add(f.Range.To.UnixMicro())
	if f.UserID != "" {
		text += ` AND ` + ofUser(&args, f.UserID)
	}
	return query{text + ` LIMIT ` + args.add(most) + `) n`, args}
}

// partsOf returns what crossing sessions did within the range, and how many of all crossing sessions began in it.
func partsOf(ctx context.Context, tx querier, q Query, crossing map[int64]bool) (rows []Row, beganIn int, err error) {
	ids := make([]int64, 0, len(crossing))
	for id, began := range crossing {
		ids = append(ids, id)
		if began {
			beganIn++
		}
	}
	slices.Sort(ids)
	for chunk := range slices.Chunk(ids, mostPlaceholders) {
		sums := map[int64]Figures{}
		_, err := all(ctx, tx, partsQuery(q, chunk), func(rows *sql.Rows) (id int64, err error) {
			f, err := scanSums(rows, sessionWide, &id)
			sums[id] = f
			return id, err
		})
		if err != nil {
			return nil, 0, err
		}
		found, err := all(ctx, tx, namedQuery(chunk), scanSessionRow)
		if err != nil {
			return nil, 0, err
		}
		for _, s := range found {
			if f, ok := sums[s.ID]; ok {
				rows = append(rows, s.row(f))
			}
		}
	}
	return rows, beganIn, nil
}

func inList(args *arguments, ids []int64) string {
	in := make([]string, len(ids))
	for i, id := range ids {
		in[i] = args.add(id)
	}
	return ` IN (` + strings.Join(in, ", ") + `)`
}

func namedQuery(ids []int64) query {
	var args arguments
	return query{selectSessions() + ` FROM sessions s WHERE s.id` + inList(&args, ids), args}
}

// partsQuery returns the query for the sums of what some sessions did within a range.
func partsQuery(q Query, ids []int64) query {
	var args arguments
	return query{`SELECT session, ` + sumList(sessionWide) + ` FROM facts WHERE session` + inList(&args, ids) + ` AND started_at >= ` +
		args.add(q.From.UnixMicro()) + ` AND started_at < ` + args.add(q.To.UnixMicro()) + ` GROUP BY session`, args}
}

// setFirstBytes sets the times to the first byte of rows of sessions.
func setFirstBytes(ctx context.Context, tx querier, q Query, rows []Row) error {
	for chunk := range slices.Chunk(rows, mostPlaceholders) {
		ids := make([]int64, len(chunk))
		at := map[int64]*Row{}
		for i := range chunk {
			ids[i], _ = strconv.ParseInt(chunk[i].Value, 10, 64) // They are numbers of ours.
			at[ids[i]] = &chunk[i]
		}
		_, err := all(ctx, tx, firstBytesQuery(q, ids), func(rows *sql.Rows) (id int64, err error) {
			var f facts
			err = rows.Scan(&id, &f.firstByte)
			f.setFirstByte(f.firstByte)
			at[id].Add(f.sums.figures())
			return id, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func firstBytesQuery(q Query, ids []int64) query {
	var args arguments
	return query{`SELECT session, first_byte FROM facts WHERE session` + inList(&args, ids) + ` AND started_at >= ` +
		args.add(q.From.UnixMicro()) + ` AND started_at < ` + args.add(q.To.UnixMicro()) + ` AND first_byte > 0`, args}
}
