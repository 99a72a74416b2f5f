package aibridgedserver

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// BudgetKind says whose budget it is.
type BudgetKind string

// The kinds of budgets.
const (
	UserBudget  BudgetKind = "user"
	GroupBudget BudgetKind = "group"
)

// BudgetPeriod is the time after which a budget begins anew.
type BudgetPeriod string

// The periods. They are those of a calendar: a week begins on Monday.
const (
	PerDay   BudgetPeriod = "day"
	PerWeek  BudgetPeriod = "week"
	PerMonth BudgetPeriod = "month"
)

// Budget is how much a user or a group may spend in a period. There is one at most of each.
type Budget struct {
	Kind BudgetKind
	// Subject is the id of a user, a UUID, or the name of a group.
	Subject string
	// Name is the username, or the name of the group.
	Name   string
	Period BudgetPeriod
	// Limit is in millionths of a millionth of a dollar, as costs are kept.
	Limit     int64
	ChangedAt time.Time
}

// MostBudget is the highest limit of a budget: nine million dollars, which sums of costs can hold.
const MostBudget = 9_000_000_000_000_000_000

// ErrNoBudget is what [Server.RemoveBudget] returns where there is none.
var ErrNoBudget = errors.New("it has no budget")

// check returns an error that says why a budget cannot be set, or nil.
func (b Budget) check() error {
	if err := checkUsername(b.Name); err != nil {
		return err
	}
	switch b.Kind {
	case UserBudget, GroupBudget:
	default:
		return fmt.Errorf("budgets are of a %s or a %s, not of a %q", UserBudget, GroupBudget, b.Kind)
	}
	switch b.Period {
	case PerDay, PerWeek, PerMonth:
	default:
		return fmt.Errorf("the period is %q: use %s, %s or %s", b.Period, PerDay, PerWeek, PerMonth)
	}
	if b.Limit <= 0 || b.Limit > MostBudget {
		return errors.New("the limit must be above 0, and at most nine million dollars")
	}
	return nil
}

// SetBudget sets the budget of a user or a group, by its name, in the place of the one that it had. What was spent in the
// period stays spent. For a name that no user has, the error is [ErrUnknownUser]. A group need not have anybody in it.
func (s *Server) SetBudget(ctx context.Context, b Budget) error {
	err := b.check()
	if err == nil {
		err = s.changeBudgets(ctx, func(ctx context.Context, tx *sql.Tx) error {
			subject, err := budgetSubject(ctx, tx, b.Kind, b.Name)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO budgets (kind, subject, period, amount, changed_at) VALUES ($1, $2, $3, $4, $5)
				ON CONFLICT (kind, subject) DO UPDATE SET period = excluded.period, amount = excluded.amount, changed_at = excluded.changed_at`,
				string(b.Kind), subject, string(b.Period), b.Limit, time.Now().UnixMicro())
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("set the budget of %s %q: %w", b.Kind, b.Name, err)
	}
	return nil
}

// RemoveBudget takes the budget of a user or a group away, by its name. If there is none, the error is [ErrNoBudget].
func (s *Server) RemoveBudget(ctx context.Context, kind BudgetKind, name string) error {
	err := s.changeBudgets(ctx, func(ctx context.Context, tx *sql.Tx) error {
		subject, err := budgetSubject(ctx, tx, kind, name)
		if err != nil {
			return err
		}
		removed, err := affected(tx.ExecContext(ctx, `DELETE FROM budgets WHERE kind = $1 AND subject = $2`, string(kind), subject))
		if err == nil && removed == 0 {
			return ErrNoBudget
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove the budget of %s %q: %w", kind, name, err)
	}
	return nil
}

// budgetSubject returns what a budget is kept under.
func budgetSubject(ctx context.Context, tx *sql.Tx, kind BudgetKind, name string) (subject string, err error) {
	if kind != UserBudget {
		return name, nil
	}
	err = tx.QueryRowContext(ctx, `SELECT id FROM users WHERE username = $1`, name).Scan(&subject)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrUnknownUser
	}
	return subject, err
}

// changeBudgets runs do in a transaction that changes budgets, so that gateways read them again.
func (s *Server) changeBudgets(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	return inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		if err := do(ctx, tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE budget_settings SET number = number + 1`)
		return err
	})
}

// Budgets returns all budgets, those of users first, by name.
func (s *Server) Budgets(ctx context.Context) ([]Budget, error) {
	budgets := []Budget{}
	err := each(ctx, s.db.Reader, `SELECT kind, subject, period, amount, changed_at FROM budgets`, nil, func(rows *sql.Rows) error {
		var b Budget
		err := rows.Scan((*string)(&b.Kind), &b.Subject, (*string)(&b.Period), &b.Limit, (*instant)(&b.ChangedAt))
		b.Name = b.Subject
		budgets = append(budgets, b)
		return err
	})
	if err == nil {
		err = s.nameBudgets(ctx, budgets)
	}
	if err != nil {
		return nil, fmt.Errorf("list budgets: %w", err)
	}
	slices.SortFunc(budgets, func(a, b Budget) int {
		return cmp.Or(-cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return budgets, nil
}

// namesRead is how many names one query reads.
const namesRead = 128

// nameBudgets sets the names of budgets of users.
func (s *Server) nameBudgets(ctx context.Context, budgets []Budget) error {
	places := map[string]int{}
	for i, b := range budgets {
		if b.Kind == UserBudget {
			places[b.Subject] = i
		}
	}
	for ids := range slices.Chunk(slices.Collect(maps.Keys(places)), namesRead) {
		var args []any
		var in []string
		for _, id := range ids {
			in = append(in, placeholder(&args, id))
		}
		err := each(ctx, s.db.Reader, `SELECT id, username FROM users WHERE id IN (`+strings.Join(in, ", ")+`)`, args, func(rows *sql.Rows) error {
			var id, name string
			err := rows.Scan(&id, &name)
			if i, ok := places[id]; ok {
				budgets[i].Name = name
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// BudgetChanges returns a number that grows with each change to budgets, by any process.
func (s *Server) BudgetChanges(ctx context.Context) (number int64, err error) {
	if err := s.db.Reader.QueryRowContext(ctx, `SELECT number FROM budget_settings`).Scan(&number); err != nil {
		return 0, fmt.Errorf("look for changes of budgets: %w", err)
	}
	return number, nil
}

// SetBudgetZone keeps the time zone of the periods, for others that look at the same database.
func (s *Server) SetBudgetZone(ctx context.Context, zone string) error {
	err := inTurn(ctx, s.db, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE budget_settings SET zone = $1 WHERE zone <> $1`, zone)
		return err
	})
	if err != nil {
		return fmt.Errorf("keep the time zone of budgets: %w", err)
	}
	return nil
}

// BudgetZone returns the name of the time zone that was kept last, or UTC.
func (s *Server) BudgetZone(ctx context.Context) (zone string, err error) {
	if err := s.db.Reader.QueryRowContext(ctx, `SELECT zone FROM budget_settings`).Scan(&zone); err != nil {
		return "", fmt.Errorf("time zone of budgets: %w", err)
	}
	return zone, nil
}
