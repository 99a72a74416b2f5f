package reports

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver"
)

// Counted is what the sums have of one interception.
type Counted struct {
	Cost int64 // In millionths of a millionth of a dollar.
	// Over says that the interception has ended, and that all of it is counted.
	Over bool
}

// SpentOf returns what was spent of a budget within a range, in millionths of a millionth of a dollar, and what is in such sums
// of some interceptions, all as of one moment. What a group spent is what its users did while they belonged to it.
func (r *Reports) SpentOf(
	ctx context.Context, b aibridgedserver.Budget, over Range, interceptions []uuid.UUID,
) (spent int64, counted map[uuid.UUID]Counted, err error) {
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		var sum decimal.Decimal
		if sum, err = spentOf(ctx, tx, b.Kind, b.Subject, over); err != nil {
			return err
		}
		spent = kept64(sum)
		counted, err = readCounted(ctx, tx, interceptions)
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("what was spent of the budget of %s %q: %w", b.Kind, b.Name, err)
	}
	return spent, counted, nil
}

// kept64 returns an amount as it is kept, but no more than an integer holds.
func kept64(usd decimal.Decimal) int64 {
	kept := usd.Shift(12)
	if kept.GreaterThan(decimal.NewFromInt(math.MaxInt64)) {
		return math.MaxInt64
	}
	return kept.IntPart()
}

func readCounted(ctx context.Context, tx querier, interceptions []uuid.UUID) (map[uuid.UUID]Counted, error) {
	counted := map[uuid.UUID]Counted{}
	err := byIDs(interceptions, selectCounted, func(q query) error {
		_, err := all(ctx, tx, q, func(rows *sql.Rows) (id uuid.UUID, err error) {
			var c Counted
			var outcome string
			err = rows.Scan(&id, &c.Cost, &outcome)
			c.Over = outcome != Running
			counted[id] = c
			return id, err
		})
		return err
	})
	return counted, err
}

const selectCounted = `SELECT interception_id, cost, outcome FROM facts WHERE interception_id`

// spentOf returns what a user or a group spent within a range.
func spentOf(ctx context.Context, tx querier, kind aibridgedserver.BudgetKind, subject string, over Range) (sum decimal.Decimal, err error) {
	users := map[Range][]any{over: {subject}}
	if kind == aibridgedserver.GroupBudget {
		if users, err = usersOfGroup(ctx, tx, subject, over); err != nil {
			return sum, err
		}
	}
	for over, users := range users {
		from, to := over.quarters()
		for _, part := range stretches(from, to) {
			for chunk := range slices.Chunk(users, mostPlaceholders) {
				found, err := all(ctx, tx, spentQuery(chunk, part), func(rows *sql.Rows) (usd decimal.Decimal, err error) {
					var high, low int64
					err = rows.Scan(&high, &low)
					return decimal.New(high, -6).Add(dollars(low)), err
				})
				if err != nil {
					return sum, err
				}
				for _, usd := range found {
					sum = sum.Add(usd)
				}
			}
		}
	}
	return sum, nil
}

// spentQuery returns the query for what users spent in a stretch, as two sums: of the upper and of the lower digits.
func spentQuery(users []any, part stretch) query {
	var args arguments
	in := args.list(users)
	return query{`SELECT coalesce(sum(cost / 1000000), 0), coalesce(sum(cost % 1000000), 0) FROM rollups WHERE value IN (` + in + `)
		AND dimension = ` + args.add(int(ByUser)) + ` AND span = ` + args.add(int(part.span)) + ` AND at >= ` + args.add(part.from) +
		` AND at < ` + args.add(part.to), args}
}

// usersOfGroup returns the users of a group by the part of a range in which they belong to it. Most belong to it all the time, so
// there are few parts.
func usersOfGroup(ctx context.Context, tx querier, group string, over Range) (map[Range][]any, error) {
	memberships, err := all(ctx, tx, groupQuery(group, over), func(rows *sql.Rows) (membership, error) { return scanMembership(rows, over) })
	users := map[Range][]any{}
	for _, m := range memberships {
		users[m.Range] = append(users[m.Range], m.user)
	}
	return users, err
}

func groupQuery(group string, over Range) query {
	return query{
		`SELECT user_id, name, from_at, until_at FROM user_groups WHERE name = $1 AND from_at < $2 AND (until_at IS NULL OR until_at > $3)`,
		arguments{group, over.To.UnixMicro(), over.From.UnixMicro()},
	}
}

// GroupsOf returns the groups that a user belongs to at an instant.
func (r *Reports) GroupsOf(ctx context.Context, userID string, at time.Time) ([]string, error) {
	groups, err := groupsOf(ctx, r.db.Reader, userID, at)
	if err != nil {
		return nil, fmt.Errorf("groups of a user: %w", err)
	}
	return groups, nil
}

func groupsOf(ctx context.Context, tx querier, userID string, at time.Time) ([]string, error) {
	if uuid.Validate(userID) != nil { // Another text is nobody's.
		return nil, nil
	}
	return all(ctx, tx, query{
		`SELECT name FROM user_groups WHERE user_id = $1 AND from_at <= $2 AND (until_at IS NULL OR until_at > $2) ORDER BY name`,
		arguments{userID, at.UnixMicro()},
	}, func(rows *sql.Rows) (name string, err error) {
		err = rows.Scan(&name)
		return name, err
	})
}

// BudgetQuery says which budgets are told, and when.
type BudgetQuery struct {
	// UserID, if not empty, keeps the budget of this user and those of the groups that the user belongs to. For a viewer who is no
	// administrator, it is always the viewer.
	UserID string
	// Zone is the time zone whose days count. Nil: that of the gateway that ran last.
	Zone *time.Location
	// At is the instant whose periods are told. Zero: now.
	At time.Time
}

// BudgetRow is a budget and what was spent of it in the period that an instant is in.
type BudgetRow struct {
	Kind   aibridgedserver.BudgetKind   `json:"kind"`
	Name   string                       `json:"name"`
	ID     string                       `json:"id"` // Of a user: the UUID. Of a group: the name.
	Period aibridgedserver.BudgetPeriod `json:"period"`
	Limit  decimal.Decimal              `json:"limit_usd"`
	Spent  decimal.Decimal              `json:"spent_usd"`
	// Share is which part of the limit is spent: 1 is all of it.
	Share float64   `json:"share"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Zone  string    `json:"zone"`
}

// Percent returns how many hundredths of the limit are spent, without a fraction: 100 is all of it or a little more, and never
// less.
func (b BudgetRow) Percent() string { return b.Spent.Shift(2).Div(b.Limit).Floor().String() } // No limit is 0.

// BudgetColumns returns the names of the cells of [BudgetRow.Cells].
func BudgetColumns() []string {
	return []string{"kind", "name", "id", "period", "limit_usd", "spent_usd", "share", "from", "to", "zone"}
}

// Cells returns the budget as comma-separated values have it.
func (b BudgetRow) Cells() []string {
	return []string{
		string(b.Kind), CSVCell(b.Name), CSVCell(b.ID), string(b.Period), b.Limit.String(), b.Spent.String(), strconv.FormatFloat(b.Share, 'f', 4, 64),
		b.From.Format(time.RFC3339), b.To.Format(time.RFC3339), b.Zone,
	}
}

// mostBudgets is how many budgets are told.
const mostBudgets = 10_000

// Budgets returns budgets with what was spent of them, those of which the largest share is spent first.
func (r *Reports) Budgets(ctx context.Context, v Viewer, q BudgetQuery) ([]BudgetRow, error) {
	if q.At.IsZero() {
		q.At = time.Now()
	}
	if !v.Admin {
		if v.UserID == "" || q.UserID != "" && q.UserID != v.UserID {
			return nil, ErrNotFound
		}
		q.UserID = v.UserID
	}
	var rows []BudgetRow
	err := r.db.Read(ctx, func(tx *sql.Tx) (err error) {
		if q.Zone == nil {
			if q.Zone, err = budgetZone(ctx, tx); err != nil {
				return err
			}
		}
		rows, err = budgetRows(ctx, tx, q)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("budgets: %w", err)
	}
	slices.SortStableFunc(rows, func(a, b BudgetRow) int { return b.Spent.Mul(a.Limit).Cmp(a.Spent.Mul(b.Limit)) })
	return rows, nil
}

// budgetZone returns the time zone of the gateway that ran last. UTC takes the place of one that is not known on this machine.
func budgetZone(ctx context.Context, tx querier) (*time.Location, error) {
	names, err := all(ctx, tx, query{`SELECT zone FROM budget_settings`, nil}, func(rows *sql.Rows) (name string, err error) {
		err = rows.Scan(&name)
		return name, err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone, nil
		}
	}
	return time.UTC, nil
}

func budgetRows(ctx context.Context, tx querier, q BudgetQuery) ([]BudgetRow, error) {
	var groups []string
	var err error
	if q.UserID != "" {
		if groups, err = groupsOf(ctx, tx, q.UserID, q.At); err != nil {
			return nil, err
		}
	}
	rows, err := all(ctx, tx, query{`SELECT kind, subject, period, amount FROM budgets ORDER BY kind DESC, subject LIMIT $1`, arguments{mostBudgets}},
		func(rows *sql.Rows) (b BudgetRow, err error) {
			var amount int64
			err = rows.Scan((*string)(&b.Kind), &b.ID, (*string)(&b.Period), &amount)
			b.Name, b.Limit, b.Zone = b.ID, dollars(amount), q.Zone.String()
			return b, err
		})
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(b BudgetRow) bool {
		isGroup := b.Kind == aibridgedserver.GroupBudget
		return q.UserID != "" && (isGroup && !slices.Contains(groups, b.ID) || !isGroup && b.ID != q.UserID)
	})
	ids := make([]string, 0, len(rows))
	of := spending{tx: tx, isOfAll: q.UserID == "", known: map[Range]map[string]decimal.Decimal{}}
	for i := range rows {
		over := PeriodOf(rows[i].Period, q.At, q.Zone)
		rows[i].From, rows[i].To = over.From, over.To
		if rows[i].Spent, err = of.spent(ctx, rows[i].Kind, rows[i].ID, over); err != nil {
			return nil, err
		}
		rows[i].Share = rows[i].Spent.Div(rows[i].Limit).InexactFloat64() // No limit is 0.
		ids = append(ids, rows[i].ID)
	}
	names, err := usernames(ctx, tx, ids)
	for i, b := range rows {
		if name := names[b.ID]; b.Kind == aibridgedserver.UserBudget && name != "" {
			rows[i].Name = name
		}
	}
	return rows, err
}

// spending tells what was spent of several budgets.
type spending struct {
	tx      querier
	isOfAll bool                                 // The sums of all users are read at once.
	known   map[Range]map[string]decimal.Decimal // By user.
}

func (s spending) spent(ctx context.Context, kind aibridgedserver.BudgetKind, subject string, over Range) (decimal.Decimal, error) {
	if !s.isOfAll || kind != aibridgedserver.UserBudget {
		return spentOf(ctx, s.tx, kind, subject, over)
	}
	if s.known[over] == nil {
		rows, err := kept{s.tx}.values(ctx, ByUser, over)
		if err != nil {
			return decimal.Zero, err
		}
		s.known[over] = map[string]decimal.Decimal{}
		for _, row := range rows {
			s.known[over][row.Value] = row.USD
		}
	}
	return s.known[over][subject], nil
}

// ProviderURLs returns the addresses of the providers that are set up, by name and then type: they decide which vendor's prices
// count.
func (r *Reports) ProviderURLs(ctx context.Context) (map[[2]string]string, error) {
	urls := map[[2]string]string{}
	_, err := all(ctx, r.db.Reader, query{`SELECT name, type, base_url FROM providers`, nil}, func(rows *sql.Rows) (of [2]string, err error) {
		var url string
		err = rows.Scan(&of[0], &of[1], &url)
		urls[of] = url
		return of, err
	})
	if err != nil {
		return nil, fmt.Errorf("addresses of providers: %w", err)
	}
	return urls, nil
}
