package reports

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"
)

// Breakdowns are the names of that by which [Reports.Breakdown] splits a range.
func Breakdowns() []string {
	return []string{"user", "group", "model", "client", "provider", "tool", "outcome", "day", "session"}
}

// Breakdown returns what a range adds up to, split by one of [Breakdowns], the dearest first, and days in their order. A user
// who belongs to several groups counts in each of them, so groups may add up to more than the range. Of sessions it returns
// those that began in the range, with all of their costs. It returns at most 10,000 rows.
func (r *Reports) Breakdown(ctx context.Context, v Viewer, q Query, by string) ([]Row, error) {
	q, err := q.restricted(v)
	if err != nil {
		return nil, err
	}
	var rows []Row
	switch by {
	case "user":
		rows, err = r.valuesOf(ctx, q, ByUser)
	case "model":
		rows, err = r.valuesOf(ctx, q, ByModel)
	case "client":
		rows, err = r.valuesOf(ctx, q, ByClient)
	case "provider":
		rows, err = r.valuesOf(ctx, q, ByProvider)
	case "tool":
		rows, err = r.valuesOf(ctx, q, ByTool)
	case "outcome":
		rows, err = r.valuesOf(ctx, q, ByOutcome)
	case "group":
		rows, err = r.groups(ctx, q)
	case "day":
		rows, err = r.daysOf(ctx, q)
	case "session":
		return r.sessionRows(ctx, v, q)
	default:
		return nil, fmt.Errorf("cannot split by %q: use one of %q", by, Breakdowns())
	}
	if err != nil {
		return nil, fmt.Errorf("usage by %s: %w", by, err)
	}
	return rows[:min(len(rows), mostUsageRows)], nil
}

func (r *Reports) valuesOf(ctx context.Context, q Query, of Dimension) (rows []Row, err error) {
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		s, err := openSums(ctx, tx, q)
		if err != nil {
			return err
		}
		rows, err = s.values(ctx, of, q.Range)
		if err != nil || of != ByUser {
			return err
		}
		return nameUsers(ctx, tx, rows)
	})
	return rows, err
}

func (r *Reports) daysOf(ctx context.Context, q Query) (rows []Row, err error) {
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		s, err := openSums(ctx, tx, q)
		if err != nil {
			return err
		}
		list, err := s.days(ctx, q, ByModel, nil)
		for _, day := range list {
			if name := day.Begin.Format(time.DateOnly); day.Total.Requests > 0 {
				rows = append(rows, Row{Value: name, Name: name, Figures: day.Total})
			}
		}
		return err
	})
	return rows, err
}

func (r *Reports) sessionRows(ctx context.Context, v Viewer, q Query) ([]Row, error) {
	page, err := r.Sessions(ctx, v, SessionFilter{Range: q.Range, UserID: q.UserID, Dearest: true, Limit: mostDearest})
	if err != nil {
		return nil, err
	}
	rows := make([]Row, len(page.Sessions))
	for i, s := range page.Sessions {
		rows[i] = Row{Value: strconv.FormatInt(s.ID, 10), Name: s.Title, Figures: s.Figures}
	}
	return rows, nil
}
