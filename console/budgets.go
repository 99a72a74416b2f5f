package console

import (
	"fmt"
	"strconv"
	"time"

	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
)

// Held returns what a budget holds for requests that are running, in dollars: the budget of the user with that id, or of the group with
// that name. It is called from many goroutines.
type Held func(kind aibridgedserver.BudgetKind, id string) decimal.Decimal

// nearlySpent is the share of a budget from which on the overview warns of it.
const nearlySpent = 0.8

// mostWarnings is how many budgets the overview warns of.
const mostWarnings = 5

// budgets shows budgets, and what was spent of them: to administrators all, to others their own and those of their groups.
func (c *Console) budgets(v *visit) (*answer, error) {
	userID, err := c.userID(v, v.URL.Query().Get("user"))
	if err != nil {
		return nil, err
	}
	rows, err := c.reports.Budgets(v.Context(), v.viewer, reports.BudgetQuery{UserID: userID})
	if err != nil {
		return nil, err
	}
	t := &table{Caption: "Budgets", Columns: []column{
		{Name: "Whose"}, {Name: "Kind"}, {Name: "ID", OnlySaved: true}, {Name: "Per"}, {Name: "Limit in USD", Number: true}, {Name: "Spent in USD", Number: true},
		{Name: "Spent", Number: true}, {Name: "Held in USD", Number: true}, {Name: "Began"}, {Name: "Renewed"}, {Name: "Zone", OnlySaved: true},
	}}
	saved := []savedBudget{}
	for _, b := range rows {
		saved = append(saved, savedBudget{b, c.held(b)})
		t.Rows = append(t.Rows, []cell{
			{Text: b.Name, Href: c.spentBy(b)}, {Text: string(b.Kind)}, {Text: b.ID}, {Text: string(b.Period)}, {Text: money(b.Limit), Raw: b.Limit.String()},
			{Text: money(b.Spent), Raw: b.Spent.String()}, {Text: percent(b), Raw: strconv.FormatFloat(b.Share, 'f', 4, 64)}, c.heldCell(b),
			inZone(b.From), inZone(b.To), {Text: b.Zone},
		})
	}
	return &answer{view: "budgets", title: "Budgets", data: t, file: "budgets", table: t, json: saved}, nil
}

// spentBy returns the address of what a user or a group spent in the period of a budget.
func (c *Console) spentBy(b reports.BudgetRow) string {
	ends := chosen{values: map[string][]string{"from": {b.From.UTC().Format(time.RFC3339)}, "to": {b.To.UTC().Format(time.RFC3339)}}}
	if b.Kind == aibridgedserver.GroupBudget {
		return c.options.Path + "usage?" + ends.with("by", "group")
	}
	return c.options.Path + "?" + ends.with("user", b.ID)
}

// savedBudget is a budget as it is saved.
type savedBudget struct {
	reports.BudgetRow

	Held *decimal.Decimal `json:"held_usd"` // Nil: it is not known.
}

// held returns what a budget holds; nil: it is not known.
func (c *Console) held(b reports.BudgetRow) *decimal.Decimal {
	if c.options.Held == nil {
		return nil
	}
	held := c.options.Held(b.Kind, b.ID)
	return &held
}

func (c *Console) heldCell(b reports.BudgetRow) cell {
	held := c.held(b)
	if held == nil {
		return cell{Text: "–", IsUnknown: true}
	}
	return cell{Text: money(*held), Raw: held.String()}
}

// inZone returns an instant at which a period begins or ends, in the zone of the budgets.
func inZone(at time.Time) cell {
	return cell{Text: at.Format("2006-01-02 15:04 -07:00"), Raw: at.UTC().Format(time.RFC3339)}
}

func percent(b reports.BudgetRow) string { return b.Percent() + " %" }

// warnings returns what an overview of a user says of budgets of which little is left.
func (c *Console) warnings(v *visit, userID string) (warnings []string, err error) {
	if userID == "" {
		return nil, nil // The view of budgets has them all.
	}
	rows, err := c.reports.Budgets(v.Context(), v.viewer, reports.BudgetQuery{UserID: userID})
	if err != nil {
		return nil, err
	}
	for _, b := range rows[:min(len(rows), mostWarnings)] { // The largest share comes first.
		if b.Share < nearlySpent {
			break
		}
		state := "is " + percent(b) + " spent"
		if b.Share >= 1 {
			state = "is spent, so requests are refused"
		}
		warnings = append(warnings, fmt.Sprintf("The budget of %s %q %s: %s of %s this %s. It is renewed at %s.", b.Kind, b.Name, state, money(b.Spent),
			money(b.Limit), b.Period, inZone(b.To).Text))
	}
	return warnings, nil
}
