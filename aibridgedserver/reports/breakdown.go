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

// Breakdown is what a range adds up to, split by something.
type Breakdown struct {
	By string
	// Range is the one that it is about.
	Range Range
	// Rows have the dearest first, and days in their order.
	Rows []Row
	// Total is that of the range, whatever the rows have. It is the same for each split.
	Total Figures
	// Left is how many more rows there are.
	Left int
	// Others is what the total has beyond the rows: that of the rows which are left, and of what was deleted. There is none by
	// group or tool, since a request counts in each of its groups and tools.
	Others Figures
}

// Line is a row of a breakdown with its range, as it is saved.
type Line struct {
	Row

	By       string
	From, To time.Time
}

// Tools returns the rows of a breakdown by tool.
func (b *Breakdown) Tools() []ToolRow {
	rows := make([]ToolRow, len(b.Rows))
	for i, row := range b.Rows {
		rows[i] = row.Tool()
	}
	return rows
}

// HasOthers reports whether the total has something beyond the rows.
func (b *Breakdown) HasOthers() bool {
	f := b.Others
	return f.Requests != 0 || f.Input != 0 || f.Output != 0 || f.CacheRead != 0 || f.CacheWrite != 0 || !f.USD.IsZero() || f.Unpriced != 0
}

// OthersName says what the others are.
func (b *Breakdown) OthersName() string {
	if b.Left == 0 {
		return "(deleted)"
	}
	return "(" + strconv.Itoa(b.Left) + " more, and what was deleted)"
}

// Lines returns the rows, and behind them one with what they lack.
func (b *Breakdown) Lines() []Line {
	rows := b.Rows
	if b.HasOthers() || b.Left > 0 {
		rows = append(rows[:len(rows):len(rows)], Row{Name: b.OthersName(), Figures: b.Others})
	}
	lines := make([]Line, len(rows))
	for i, row := range rows {
		lines[i] = Line{row, b.By, b.Range.From, b.Range.To}
	}
	return lines
}

// Breakdown returns what a range adds up to, split by one of [Breakdowns]. A user who belongs to several groups counts in each
// of them, so groups may add up to more than the range.
func (r *Reports) Breakdown(ctx context.Context, v Viewer, q Query, by string) (*Breakdown, error) {
	q, err := q.restricted(v)
	if err != nil {
		return nil, err
	}
	if q.Limit <= 0 || q.Limit > mostUsageRows {
		q.Limit = mostUsageRows
	}
	split, err := splitBy(by)
	if err != nil {
		return nil, err
	}
	if by == "session" {
		if err := r.noteAccess(ctx, v, q.UserID, "sessions", ""); err != nil {
			return nil, err
		}
	}
	b := &Breakdown{By: by, Range: q.Range}
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		s, err := openSums(tx, q)
		if err != nil {
			return err
		}
		if b.Total, err = s.total(ctx, q.Range); err != nil {
			return err
		}
		if b.Rows, b.Left, err = split(ctx, tx, s, q); err != nil {
			return err
		}
		if more := len(b.Rows) - q.Limit; more > 0 {
			b.Rows, b.Left = b.Rows[:q.Limit], b.Left+more
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("usage by %s: %w", by, err)
	}
	if by != "group" && by != "tool" {
		b.Others = b.Total
		for _, row := range b.Rows {
			b.Others.subtract(row.Figures)
		}
	}
	return b, nil
}

// splitter returns what a range is split into, and how many rows more there are.
type splitter func(ctx context.Context, tx querier, s sums, q Query) (rows []Row, left int, err error)

func splitBy(by string) (splitter, error) {
	switch by {
	case "user":
		return byValue(ByUser), nil
	case "model":
		return byValue(ByModel), nil
	case "client":
		return byValue(ByClient), nil
	case "provider":
		return byValue(ByProvider), nil
	case "tool":
		return byValue(ByTool), nil
	case "outcome":
		return byValue(ByOutcome), nil
	case "group":
		return byGroup, nil
	case "day":
		return byDay, nil
	case "session":
		return bySession, nil
	default:
		return nil, fmt.Errorf("cannot split by %q: use one of %q", by, Breakdowns())
	}
}

func byValue(of Dimension) splitter {
	return func(ctx context.Context, tx querier, s sums, q Query) (rows []Row, left int, err error) {
		rows, err = s.values(ctx, of, q.Range)
		if err == nil && of == ByUser {
			err = nameUsers(ctx, tx, rows)
		}
		return rows, 0, err
	}
}

func byDay(ctx context.Context, _ querier, s sums, q Query) (rows []Row, left int, err error) {
	list, err := s.days(ctx, q, ByModel, nil)
	for _, day := range list {
		if name := day.Begin.Format(time.DateOnly); day.Total.Requests > 0 {
			rows = append(rows, Row{Value: name, Name: name, Figures: day.Total})
		}
	}
	return rows, 0, err
}
