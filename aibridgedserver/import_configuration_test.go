package aibridgedserver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
)

func (c controlPlane) must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// changes returns the number by which gateways see that the configuration has changed.
func (c controlPlane) changes(t *testing.T) int64 {
	t.Helper()
	n, err := c.ConfigurationChanges(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (c controlPlane) importWith(t *testing.T, exact bool, rows [][]byte) []string {
	t.Helper()
	done, err := c.ImportWith(t.Context(), aibridgedserver.ImportOptions{Exact: exact}, eachRow(rows))
	if err != nil || int(done.Read) != len(rows) {
		t.Fatalf("imported %d of %d, %v", done.Read, len(rows), err)
	}
	return done.Differs
}

// Gateways hear of whatever an import changes of what they serve, and of nothing else.
func TestImportTellsGateways(t *testing.T) {
	t.Parallel()
	from, to := newControlPlane(t), newControlPlane(t)
	from.token(t, "ada")
	provider, _ := withSecret("p", "key-1")
	for name, change := range map[string]func() error{
		"provider": func() error { return from.AddProvider(t.Context(), provider) },
		"budget": func() error {
			return from.SetBudget(t.Context(), aibridgedserver.Budget{Kind: aibridgedserver.UserBudget, Name: "ada", Period: aibridgedserver.PerDay, Limit: 5})
		},
		"MCP server": func() error {
			return from.AddMCPServer(t.Context(), aibridgedserver.StoredMCPServer{MCPServer: mcpServer("m", "")})
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		before := to.changes(t)
		to.mustImport(t, from.exported(t))
		if to.changes(t) == before {
			t.Errorf("%s: no gateway hears of it", name)
		}
	}
	for name, change := range map[string]func() error{
		"token for an MCP server":         func() error { return from.SetMCPToken(t.Context(), "ada", "m", "tok-1") },
		"another token for an MCP server": func() error { return from.SetMCPToken(t.Context(), "ada", "m", "tok-2") },
		"change of a provider": func() error {
			return from.ChangeProvider(t.Context(), "p", func(p *aibridgedserver.Provider) error {
				p.BaseURL = fmt.Sprintf("http://127.0.0.1/%d", time.Now().UnixNano())
				return nil
			})
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		before := to.changes(t)
		to.mustImport(t, from.exported(t))
		if to.changes(t) == before {
			t.Errorf("%s: no gateway hears of it", name)
		}
	}
	before := to.changes(t)
	from.mustStore(t, sixKinds(newID())...)
	to.mustImport(t, from.exported(t))
	if to.changes(t) != before {
		t.Error("an import that changes no configuration makes gateways read it again")
	}
}

// moved is a control plane whose content was moved to another one, and has changed since in each way there is.
func moved(t *testing.T) (from, to controlPlane) {
	t.Helper()
	ctx := t.Context()
	from, to = newControlPlane(t), newControlPlane(t)
	from.token(t, "ada")
	changed, _ := withSecret("changed", "key-1")
	removed, _ := withSecret("removed", "key-2")
	seeded, _ := withSecret("seeded", "key-3")
	_, err := from.SeedProviders(ctx, []aibridgedserver.Provider{seeded})
	from.must(t, err, from.AddProvider(ctx, changed), from.AddProvider(ctx, removed))
	for _, id := range []string{"m", "gone"} {
		m := mcpServer(id, "")
		m.Everyone, m.Users = false, []string{"ada", "bob"}
		from.must(t, from.AddMCPServer(ctx, aibridgedserver.StoredMCPServer{MCPServer: m}), from.SetMCPToken(ctx, "ada", id, "tok-1"))
	}
	from.must(t, from.SetUserGroups(ctx, "ada", []string{"red", "late"}, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)))
	budget := func(kind aibridgedserver.BudgetKind, name string, limit int64) error {
		return from.SetBudget(ctx, aibridgedserver.Budget{Kind: kind, Name: name, Period: aibridgedserver.PerMonth, Limit: limit})
	}
	from.must(t, budget(aibridgedserver.UserBudget, "ada", 50), budget(aibridgedserver.GroupBudget, "late", 60))
	to.mustImport(t, from.exported(t))
	if digest(to.exported(t)) != digest(from.exported(t)) {
		t.Fatal("the first import differs")
	}
	from.must(t,
		from.SetUserGroups(ctx, "ada", []string{"blue"}, time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)),
		from.ChangeProvider(ctx, "changed", func(p *aibridgedserver.Provider) error {
			reference := aibridgedserver.NewSecretReference()
			p.Settings, p.Secrets = json.RawMessage(`{"keys":["`+reference+`"]}`), map[string]string{reference: "key-4"}
			return nil
		}),
		from.RemoveProvider(ctx, "removed"),
		from.SetMCPToken(ctx, "ada", "m", "tok-2"),
		budget(aibridgedserver.UserBudget, "ada", 70),
		from.RemoveBudget(ctx, aibridgedserver.GroupBudget, "late"),
	)
	return from, to
}

// A second import brings what has changed at the source since the first: the later state counts. What was removed there stays, and
// is named.
func TestImportAgainBringsChanges(t *testing.T) {
	t.Parallel()
	from, to := moved(t)
	differs := to.importWith(t, false, from.exported(t))
	if want := []string{"the budget of group late is not in the export", "provider removed is not in the export"}; !slices.Equal(differs, want) {
		t.Errorf("differs: %q, want %q", differs, want)
	}
	from.must(t, to.RemoveProvider(t.Context(), "removed"), to.RemoveBudget(t.Context(), aibridgedserver.GroupBudget, "late"))
	if ours, theirs := to.exported(t), from.exported(t); digest(ours) != digest(theirs) {
		t.Error("more differs")
		for i, row := range ours {
			if i >= len(theirs) || string(row) != string(theirs[i]) {
				t.Logf("%s", row)
			}
		}
	}
	ada, err := to.UserID(t.Context(), "ada")
	if got := to.tokenOf(t, ada); err != nil || got != "tok-2" {
		t.Errorf("the token is %q", got)
	}
	// What was changed here later stays when the same export comes once more, and so does what is only here.
	to.must(t, to.ChangeProvider(t.Context(), "changed", func(p *aibridgedserver.Provider) error { p.Disabled = true; return nil }),
		to.AddProvider(t.Context(), aibridgedserver.Provider{Name: "own", Type: "openai"}),
		to.SetMCPToken(t.Context(), "ada", "m", "tok-3"))
	now := to.exported(t)
	differs = to.importWith(t, false, from.exported(t))
	if digest(to.exported(t)) != digest(now) {
		t.Error("an older export has changed something")
	}
	all := strings.Join(differs, "\n")
	for _, want := range []string{"provider changed is different here", "provider own is not in the export", "for MCP server m is different here"} {
		if !strings.Contains(all, want) || len(differs) != 3 {
			t.Errorf("differs: %q, want %q", differs, want)
		}
	}
}

// An exact import makes the configuration that of the export, whatever was done at either since, also where nothing says when.
func TestExactImport(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	from, to := moved(t)
	from.must(t, from.RemoveMCPServer(ctx, "gone"),
		from.ChangeMCPServer(ctx, "m", func(m *aibridgedserver.StoredMCPServer) error { m.Users = []string{"ada"}; return nil }),
		to.ChangeProvider(ctx, "changed", func(p *aibridgedserver.Provider) error { p.Disabled = true; return nil }),
		to.AddProvider(ctx, aibridgedserver.Provider{Name: "own", Type: "openai"}),
		to.SetUserGroups(ctx, "ada", []string{"green"}, time.Date(2026, 11, 10, 0, 0, 0, 0, time.UTC)),
		to.SetMCPToken(ctx, "ada", "gone", "tok-9"))
	rows := from.exported(t)
	if differs := to.importWith(t, false, rows); len(differs) < 5 {
		t.Errorf("differs: %q", differs)
	}
	before := to.changes(t)
	if differs := to.importWith(t, true, rows); len(differs) > 0 || to.changes(t) == before {
		t.Errorf("differs: %q", differs)
	}
	if digest(to.exported(t)) != digest(rows) {
		t.Error("the content is not that of the export")
	}
	before = to.changes(t)
	if differs := to.importWith(t, true, rows); len(differs) > 0 || to.changes(t) != before {
		t.Errorf("once more: differs %q, changes %d to %d", differs, before, to.changes(t))
	}
	if _, err := to.ImportWith(ctx, aibridgedserver.ImportOptions{Exact: true}, eachRow(nil)); err == nil {
		t.Error("an empty file is an export")
	}
	if digest(to.exported(t)) != digest(rows) {
		t.Error("an empty file has deleted something")
	}
}
