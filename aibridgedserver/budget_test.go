package aibridgedserver_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
)

// One budget of each user and group is kept, and each change is seen by other processes.
func TestBudgets(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	_, ada := c.token(t, "ada")
	numberOf := func() int64 {
		t.Helper()
		n, err := c.BudgetChanges(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := numberOf()
	set := func(b aibridgedserver.Budget) {
		t.Helper()
		if err := c.SetBudget(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if n := numberOf(); n <= before {
			t.Errorf("the number is %d after %d", n, before)
		} else {
			before = n
		}
	}
	set(aibridgedserver.Budget{Kind: "group", Name: "red", Period: "week", Limit: 7})
	set(aibridgedserver.Budget{Kind: "user", Name: "ada", Period: "day", Limit: 1})
	set(aibridgedserver.Budget{Kind: "user", Name: "ada", Period: "month", Limit: aibridgedserver.MostBudget})
	found, err := c.Budgets(t.Context())
	if err != nil || len(found) != 2 {
		t.Fatal(found, err)
	}
	for n, want := range []aibridgedserver.Budget{
		{Kind: "user", Subject: ada.UserID, Name: "ada", Period: "month", Limit: aibridgedserver.MostBudget},
		{Kind: "group", Subject: "red", Name: "red", Period: "week", Limit: 7},
	} {
		if time.Since(found[n].ChangedAt) > time.Minute {
			t.Errorf("changed at %s", found[n].ChangedAt)
		}
		if found[n].ChangedAt = (time.Time{}); found[n] != want {
			t.Errorf("%+v, want %+v", found[n], want)
		}
	}
	if err := c.RemoveBudget(t.Context(), "user", "ada"); err != nil || numberOf() <= before {
		t.Errorf("%v; the number is %d", err, numberOf())
	}
	before = numberOf()
	if err := c.RemoveBudget(t.Context(), "user", "ada"); !errors.Is(err, aibridgedserver.ErrNoBudget) || numberOf() != before {
		t.Errorf("%v; the number is %d", err, numberOf())
	}
	if err := c.RemoveBudget(t.Context(), "user", "nobody"); !errors.Is(err, aibridgedserver.ErrUnknownUser) {
		t.Error(err)
	}
}

// What cannot be a budget is refused with its reason, and changes nothing.
func TestBudgetsThatCannotBe(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	c.token(t, "ada")
	for want, b := range map[string]aibridgedserver.Budget{
		"no user has this name":       {Kind: "user", Name: "bob", Period: "day", Limit: 1},
		"above 0":                     {Kind: "user", Name: "ada", Period: "day"},
		"above 0, ":                   {Kind: "user", Name: "ada", Period: "day", Limit: -1},
		"at most nine million":        {Kind: "user", Name: "ada", Period: "day", Limit: aibridgedserver.MostBudget + 1},
		`"year": use day, week or`:    {Kind: "user", Name: "ada", Period: "year", Limit: 1},
		`not of a "team"`:             {Kind: "team", Name: "ada", Period: "day", Limit: 1},
		"username is empty":           {Kind: "group", Period: "day", Limit: 1},
		"set the budget of group \"a": {Kind: "group", Name: "a\x1bb", Period: "day", Limit: 1},
	} {
		if err := c.SetBudget(t.Context(), b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", b, err, want)
		}
	}
	if found, err := c.Budgets(t.Context()); err != nil || len(found) != 0 {
		t.Error(found, err)
	}
}

// The time zone is kept, and is UTC before.
func TestBudgetZone(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	if zone, err := c.BudgetZone(t.Context()); err != nil || zone != "UTC" {
		t.Error(zone, err)
	}
	if err := c.SetBudgetZone(t.Context(), "Asia/Kathmandu"); err != nil {
		t.Fatal(err)
	}
	if zone, err := c.BudgetZone(t.Context()); err != nil || zone != "Asia/Kathmandu" {
		t.Error(zone, err)
	}
}
