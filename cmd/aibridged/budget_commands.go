package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/budget"
)

func newBudgetCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "budget",
		Short: "Set how much users and groups may spend; works while serve runs",
		Long: `budget sets how much a user or a group may spend in a day, a week or a month. Requests beyond it are refused with 429 before
anything of them is sent. Periods are those of the calendar, in the time zone that budgets: zone: in the configuration of serve
names. Weeks begin on Monday. Changes count within a second. docs/budgets.md has the rules.`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	cmd.AddCommand(newBudgetSetCommand(s), newBudgetListCommand(s), newBudgetRemoveCommand(s))
	return cmd
}

// whose are the flags that say whose budget it is.
type whose struct{ user, group string }

func (w *whose) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.user, "user", "", "the `NAME` of a user, as in token create --user")
	cmd.Flags().StringVar(&w.group, "group", "", "the `NAME` of a group, as in user group set")
}

// of returns whose budget it is.
func (w whose) of() (aibridgedserver.BudgetKind, string, error) {
	switch {
	case w.user == "" && w.group == "":
		return "", "", errors.New("whose budget: name one with --user or --group")
	case w.user != "" && w.group != "":
		return "", "", errors.New("--user and --group are two budgets: name one of them")
	case w.user != "":
		return aibridgedserver.UserBudget, w.user, nil
	default:
		return aibridgedserver.GroupBudget, w.group, nil
	}
}

func newBudgetSetCommand(s *settings) *cobra.Command {
	var who whose
	var limit, per string
	cmd := &cobra.Command{
		Use:   "set (--user NAME | --group NAME) --limit USD --per day|week|month",
		Short: "Set the budget of a user or a group, in the place of the one that it had",
		Long: `set sets the budget of a user or a group, in the place of the one that it had. What was spent in the present period counts,
also what was spent before the budget was set. A request has to be allowed by the budget of its user, and by those of all
groups that the user belongs to.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind, name, err := who.of()
			if err != nil {
				return err
			}
			amount, err := parseLimit(limit)
			if err != nil {
				return fmt.Errorf("--limit %w", err)
			}
			period := aibridgedserver.BudgetPeriod(per)
			switch period {
			case aibridgedserver.PerDay, aibridgedserver.PerWeek, aibridgedserver.PerMonth:
			default:
				return fmt.Errorf("--per is %q: use day, week or month", per)
			}
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				b := aibridgedserver.Budget{Kind: kind, Name: name, Period: period, Limit: amount}
				if err := store.SetBudget(cmd.Context(), b); err != nil {
					return adviseUsers(err)
				}
				if kind == aibridgedserver.GroupBudget {
					if err := noteEmptyGroup(cmd, store, name); err != nil {
						return err
					}
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s may spend %s a %s\n", kind, shown(name, 128), budget.Amount(amount), period)
				return err
			})
		},
	}
	who.addFlags(cmd)
	cmd.Flags().StringVar(&limit, "limit", "", "how many `USD`, for example 50 or 12.50")
	cmd.Flags().StringVar(&per, "per", "", "in which `period`: day, week or month")
	return cmd
}

// adviseUsers says where to see the users, if an error is about one that is not known.
func adviseUsers(err error) error {
	if errors.Is(err, aibridgedserver.ErrUnknownUser) {
		return fmt.Errorf("%w; `aibridged token list` shows the users", err)
	}
	return err
}

// noteEmptyGroup says so if nobody belongs to a group.
func noteEmptyGroup(cmd *cobra.Command, store *store, group string) error {
	memberships, err := store.Memberships(cmd.Context())
	if err != nil {
		return err
	}
	now := time.Now()
	for _, m := range memberships {
		if m.Group == group && (m.Until == nil || m.Until.After(now)) {
			return nil
		}
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "nobody belongs to the group %s: `aibridged user group set` puts users into groups\n", shown(group, 128))
	return err
}

// plainAmount is the form of an amount: digits, perhaps with a point between them.
var plainAmount = regexp.MustCompile(`^\d+(\.\d+)?$`)

// parseLimit returns an amount of dollars as budgets have it.
func parseLimit(text string) (int64, error) {
	if text == "" {
		return 0, errors.New("is missing: write an amount in USD, for example 50 or 12.50")
	}
	if !plainAmount.MatchString(text) {
		return 0, fmt.Errorf("%q is no amount: write USD with digits and perhaps a point, for example 50 or 12.50", text)
	}
	usd, err := decimal.NewFromString(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no amount: %w", text, err)
	}
	kept := usd.Shift(12)
	switch {
	case usd.IsZero():
		return 0, errors.New("must be above 0: to let nobody ask, revoke the tokens")
	case kept.GreaterThan(decimal.NewFromInt(aibridgedserver.MostBudget)):
		return 0, errors.New("is more than nine million dollars, which is the most")
	case !kept.IsInteger():
		return 0, fmt.Errorf("%q has more than twelve digits behind the point", text)
	case usd.LessThan(decimal.New(1, -2)):
		return 0, errors.New("must be a cent, 0.01, or more")
	}
	return kept.IntPart(), nil
}

func newBudgetRemoveCommand(s *settings) *cobra.Command {
	var who whose
	cmd := &cobra.Command{
		Use:   "remove (--user NAME | --group NAME)",
		Short: "Take the budget of a user or a group away: it may spend without limit",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind, name, err := who.of()
			if err != nil {
				return err
			}
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				return adviseUsers(store.RemoveBudget(cmd.Context(), kind, name))
			})
		},
	}
	who.addFlags(cmd)
	return cmd
}

func newBudgetListCommand(s *settings) *cobra.Command {
	var user string
	var asCSV, asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List budgets, and what is spent of them in their present periods",
		Long: `list lists budgets, those of which the largest share is spent first. SPENT is what usage tells of the user or the group
since the period began. What is held for requests that are running is known to serve alone: it is not in this list.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asCSV && asJSON {
				return errors.New("--csv and --json are two forms: use one")
			}
			return withReports(cmd, *s, func(ctx context.Context, store *store, of *reports.Reports) error {
				zone, err := s.budgetZone(ctx, store)
				if err != nil {
					return err
				}
				q := reports.BudgetQuery{Zone: zone}
				if user != "" {
					if q.UserID, err = of.UserID(ctx, user); err != nil {
						return fmt.Errorf("--user %q: %w", user, aibridgedserver.ErrUnknownUser)
					}
				}
				rows, err := of.Budgets(ctx, reports.Operator(), q)
				if err != nil {
					return err
				}
				switch {
				case asJSON:
					return writeBudgetsJSON(cmd.OutOrStdout(), rows)
				case asCSV:
					return writeBudgetsCSV(cmd.OutOrStdout(), rows)
				}
				return writeBudgets(cmd.OutOrStdout(), rows)
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "only what applies to this user: the own budget, and those of the groups")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print comma-separated values")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// budgetZone returns the time zone of budgets: that of the configuration file, if one is named, or else that of the gateway that
// ran last.
func (s settings) budgetZone(ctx context.Context, store *store) (*time.Location, error) {
	if s.configFile != "" {
		c, err := loadConfig(s.configFile)
		if err != nil {
			return nil, err
		}
		return c.Budgets.zone()
	}
	name, err := store.BudgetZone(ctx)
	if err != nil {
		return nil, err
	}
	return budgetZone(name)
}

func writeBudgetsJSON(out io.Writer, rows []reports.BudgetRow) error {
	encoder := newJSONLines(out)
	for _, b := range rows {
		if err := encoder.Encode(b); err != nil {
			return err
		}
	}
	return nil
}

func writeBudgetsCSV(out io.Writer, rows []reports.BudgetRow) error {
	table := csv.NewWriter(out)
	err := table.Write(reports.BudgetColumns())
	for _, b := range rows {
		err = errors.Join(err, table.Write(b.Cells()))
	}
	table.Flush()
	return errors.Join(err, table.Error())
}

func writeBudgets(out io.Writer, rows []reports.BudgetRow) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "WHOSE\tLIMIT\tPER\tSPENT\tSHARE\tRENEWED")
	for _, b := range rows {
		fmt.Fprintf(table, "%s %s\t$%s\t%s\t$%s\t%s %%\t%s %s\n", b.Kind, shown(b.Name, 40), b.Limit.StringFixed(2), b.Period, b.Spent.StringFixed(4),
			b.Percent(), b.To.Format("2006-01-02 15:04 -07:00"), b.Zone)
	}
	return table.Flush()
}
