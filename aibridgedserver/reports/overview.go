package reports

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Query says what sums are about.
type Query struct {
	Range

	// Zone is the time zone whose days count. Nil: UTC.
	Zone *time.Location
	// UserID, if not empty, keeps what this user did. For a viewer who is no administrator, it is always the viewer.
	UserID string
	// Limit is how many rows a breakdown has at most: 10,000 if it is zero, and never more.
	Limit int
}

// restricted returns the query as the viewer may ask it.
func (q Query) restricted(v Viewer) (Query, error) {
	if q.Zone == nil {
		q.Zone = time.UTC
	}
	if !v.Admin {
		if v.UserID == "" || q.UserID != "" && q.UserID != v.UserID {
			return q, ErrNotFound
		}
		q.UserID = v.UserID
	}
	var err error
	q.Range, err = q.aligned()
	return q, err
}

// Row is what one value of a dimension adds up to.
type Row struct {
	Value string `json:"value"`
	Name  string `json:"name"` // Of a user: the username. Of all else, the value.

	Figures
}

// Day is what a day adds up to, and what the values of a dimension add to it.
type Day struct {
	Begin time.Time          `json:"begin"` // The first day of a range begins where the range does.
	Total Figures            `json:"total"`
	By    map[string]Figures `json:"by"` // By value.
	// Others is what all other values add up to.
	Others Figures `json:"others"`
}

// ToolRow is how often a tool was called, and in how many requests. What a request costs is not that of its tools.
type ToolRow struct {
	Value     string `json:"value"`
	Name      string `json:"name"`
	Requests  int64  `json:"requests"`
	ToolCalls int64  `json:"tool_calls"`
}

// Tool returns a row of a tool.
func (r Row) Tool() ToolRow { return ToolRow{r.Value, r.Name, r.Requests, r.ToolCalls} }

// Overview is what a range adds up to.
type Overview struct {
	// From and To are the range that it is about.
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Total Figures   `json:"total"`
	// Before is that of the range of the same length before it.
	Before Figures `json:"before"`
	Days   []Day   `json:"days"`
	// Values are those in Days, the dearest first.
	Values []Row `json:"values"`
	Users  []Row `json:"users"`
	// Models, Clients, Providers, Tools and Outcomes are the dearest, or most frequent, first.
	Models    []Row     `json:"models"`
	Clients   []Row     `json:"clients"`
	Providers []Row     `json:"providers"`
	Tools     []ToolRow `json:"tools"`
	Outcomes  []Row     `json:"outcomes"`
}

const (
	// mostStacked is how many values the days of an overview tell apart.
	mostStacked = 8
	// mostRows is how many rows a list of an overview has.
	mostRows = 20
	// mostUsageRows is how many rows a breakdown has.
	mostUsageRows = 10_000
)

// Overview returns what a range adds up to, with its days split by a dimension: [ByModel], [ByUser], [ByClient] or
// [ByProvider].
func (r *Reports) Overview(ctx context.Context, v Viewer, q Query, by Dimension) (*Overview, error) {
	q, err := q.restricted(v)
	if err != nil {
		return nil, err
	}
	o, err := r.overview(ctx, q, by)
	if err != nil {
		return nil, fmt.Errorf("overview: %w", err)
	}
	return o, nil
}

func (r *Reports) overview(ctx context.Context, q Query, by Dimension) (*Overview, error) {
	if by != ByUser && by != ByClient && by != ByProvider {
		by = ByModel
	}
	o := Overview{From: q.From, To: q.To, Tools: []ToolRow{}}
	var tools []Row
	err := r.db.Read(ctx, func(tx *sql.Tx) error {
		s, err := openSums(tx, q)
		if err != nil {
			return err
		}
		if o.Total, err = s.total(ctx, q.Range); err != nil {
			return err
		}
		if o.Before, err = s.total(ctx, q.Before()); err != nil {
			return err
		}
		lists := map[Dimension]*[]Row{
			ByUser: &o.Users, ByModel: &o.Models, ByClient: &o.Clients, ByProvider: &o.Providers, ByTool: &tools, ByOutcome: &o.Outcomes,
		}
		for dimension, list := range lists {
			rows, err := s.values(ctx, dimension, q.Range)
			if err != nil {
				return err
			}
			*list = rows[:min(len(rows), mostRows)]
		}
		for _, row := range tools {
			o.Tools = append(o.Tools, row.Tool())
		}
		o.Values = (*lists[by])[:min(len(*lists[by]), mostStacked)]
		if o.Days, err = s.days(ctx, q, by, o.Values); err != nil {
			return err
		}
		return nameUsers(ctx, tx, o.Users)
	})
	return &o, err
}

// sums are sums over a range: those that are kept, or of one user.
type sums interface {
	total(ctx context.Context, over Range) (Figures, error)
	// values returns the sums of each value, the dearest first.
	values(ctx context.Context, of Dimension, over Range) ([]Row, error)
	// days returns the sums of each day, with those of some values.
	days(ctx context.Context, q Query, of Dimension, values []Row) ([]Day, error)
}

func openSums(tx querier, q Query) (sums, error) {
	if q.UserID == "" {
		return kept{tx}, nil
	}
	user, err := uuid.Parse(q.UserID)
	if err != nil {
		return nil, ErrNotFound
	}
	return oneUser{kept{tx}, user}, nil
}

// kept are the sums that are kept.
type kept struct{ tx querier }

func (k kept) total(ctx context.Context, over Range) (total Figures, err error) {
	rows, err := k.values(ctx, All, over)
	for _, row := range rows {
		total.Add(row.Figures)
	}
	return total, err
}

// one returns the sums of one value.
func (k kept) one(ctx context.Context, of Dimension, value string, over Range) (total Figures, err error) {
	from, to := over.quarters()
	for _, part := range stretches(from, to) {
		found, err := all(ctx, k.tx, oneQuery(of, value, part), func(rows *sql.Rows) (Figures, error) { return scanSums(rows, columns) })
		if err != nil {
			return total, err
		}
		for _, f := range found {
			total.Add(f)
		}
	}
	return total, nil
}

// oneQuery returns the query for the sums of one value in a stretch.
func oneQuery(of Dimension, value string, part stretch) query {
	return query{`SELECT ` + sumList(columns) + ` FROM rollups WHERE dimension = $1 AND span = $2 AND value = $3 AND at >= $4 AND at < $5`,
		arguments{int(of), int(part.span), value, part.from, part.to}}
}

func (k kept) values(ctx context.Context, of Dimension, over Range) ([]Row, error) {
	from, to := over.quarters()
	return addUp(ctx, k.tx, stretches(from, to), func(part stretch) query { return valuesQuery(of, part) })
}

// addUp returns what the values of some stretches add up to, the dearest first. The query of a stretch reads a value and its sums.
func addUp(ctx context.Context, tx querier, parts []stretch, of func(stretch) query) ([]Row, error) {
	byValue := map[string]*Row{}
	for _, part := range parts {
		found, err := all(ctx, tx, of(part), func(rows *sql.Rows) (row Row, err error) {
			row.Figures, err = scanSums(rows, columns, &row.Value)
			return row, err
		})
		if err != nil {
			return nil, err
		}
		for _, row := range found {
			if byValue[row.Value] == nil {
				byValue[row.Value] = &Row{Value: row.Value, Name: row.Value}
			}
			byValue[row.Value].Add(row.Figures)
		}
	}
	return dearest(byValue), nil
}

func selectValues() string {
	return `SELECT value, ` + sumList(columns) + ` FROM rollups WHERE dimension = $1 AND span = $2 AND at >= $3 AND at < $4 GROUP BY value`
}

func valuesQuery(of Dimension, part stretch) query {
	return query{selectValues(), arguments{int(of), int(part.span), part.from, part.to}}
}

// dearest returns the rows with requests, the dearest first, and of those of one cost the most frequent.
func dearest(byValue map[string]*Row) []Row {
	rows := make([]Row, 0, len(byValue))
	for _, row := range byValue {
		if row.Requests != 0 || row.ToolCalls != 0 {
			rows = append(rows, *row)
		}
	}
	slices.SortFunc(rows, func(a, b Row) int {
		return cmp.Or(b.USD.Cmp(a.USD), cmp.Compare(b.Requests, a.Requests), strings.Compare(a.Value, b.Value))
	})
	return rows
}

func (k kept) days(ctx context.Context, q Query, of Dimension, values []Row) ([]Day, error) {
	list := newDays(q)
	for _, run := range list.runs() {
		if err := k.readTotals(ctx, list, run, All, ""); err != nil {
			return nil, err
		}
		for _, row := range values {
			err := k.readRun(ctx, list, run, daysQuery(of, row.Value, run, sessionWide), sessionWide, func(day *Day, f Figures) {
				sum := day.By[row.Value]
				sum.Add(f)
				day.By[row.Value] = sum
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return list.withOthers(), nil
}

// readTotals reads the totals of the days of a run: those of a value.
func (k kept) readTotals(ctx context.Context, list dayList, r run, of Dimension, value string) error {
	return k.readRun(ctx, list, r, daysQuery(of, value, r, columns), columns, func(day *Day, f Figures) { day.Total.Add(f) })
}

// readRun reads the first n sums of the days of a run, and adds them. Those of values have no first bytes.
func (k kept) readRun(ctx context.Context, list dayList, r run, q query, n int, add func(day *Day, f Figures)) error {
	_, err := all(ctx, k.tx, q, func(rows *sql.Rows) (day int, err error) {
		f, err := scanSums(rows, n, &day)
		if err == nil {
			add(&list.days[r.first+day], f)
		}
		return day, err
	})
	return err
}

// daysQuery returns the query for the first n sums of each day of a run.
func daysQuery(of Dimension, value string, r run, n int) query {
	return query{`SELECT (at - $3) / $5, ` + sumList(n) + ` FROM rollups WHERE dimension = $1 AND span = 0 AND value = $2 AND at >= $3
		AND at < $4 GROUP BY (at - $3) / $5`, arguments{int(of), value, r.from, r.to, r.length}}
}
