package aibridgedserver_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
)

// described returns the providers in the database as lines.
func (c controlPlane) described(t *testing.T) string {
	t.Helper()
	all, err := c.Providers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, p := range all {
		lines = append(lines, fmt.Sprintf("%s %s %s %v %s configured=%v changed=%v", p.Name, p.Type, p.BaseURL, p.Disabled, p.Settings, p.Configured, p.Changed))
	}
	return strings.Join(lines, "\n")
}

func (c controlPlane) seed(t *testing.T, want string, providers ...aibridgedserver.Provider) {
	t.Helper()
	unused, err := c.SeedProviders(t.Context(), providers)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(unused); got != want {
		t.Errorf("not used: %s, want %s", got, want)
	}
}

// TestProvidersOfFilesAndCommands seeds providers as starts with different configuration files do, with changes by commands
// between them.
func TestProvidersOfFilesAndCommands(t *testing.T) {
	t.Parallel()
	c, ctx := newControlPlane(t), t.Context()
	check := func(want ...string) {
		t.Helper()
		if got := c.described(t); got != strings.Join(want, "\n") {
			t.Errorf("providers\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	}
	a := aibridgedserver.Provider{Name: "a", Type: "anthropic", Settings: json.RawMessage(`{"keys":["${A}"]}`)}
	b := aibridgedserver.Provider{Name: "b", Type: "openai"}
	c.seed(t, "[]", a, b)
	check(`a anthropic  false {"keys":["${A}"]} configured=true changed=false`, `b openai  false {} configured=true changed=false`)

	// What a command changes stays until the file says something else.
	disable := func(p *aibridgedserver.Provider) error { p.Disabled = true; return nil }
	if err := c.ChangeProvider(ctx, "a", disable); err != nil {
		t.Fatal(err)
	}
	c.seed(t, "[]", b, a)
	check(`a anthropic  true {"keys":["${A}"]} configured=true changed=true`, `b openai  false {} configured=true changed=false`)
	a.BaseURL = "http://x"
	c.seed(t, "[]", a, b)
	check(`a anthropic http://x false {"keys":["${A}"]} configured=true changed=false`, `b openai  false {} configured=true changed=false`)

	// What a command made stays, also beside an entry of its name. What the file no longer names goes.
	if err := c.AddProvider(ctx, aibridgedserver.Provider{Name: "c", Type: "google"}); err != nil {
		t.Fatal(err)
	}
	c.seed(t, "[c]", a, aibridgedserver.Provider{Name: "c", Type: "azure"})
	check(`a anthropic http://x false {"keys":["${A}"]} configured=true changed=false`, `c google  false {} configured=false changed=false`)

	for name, err := range map[string]error{
		"add again":          c.AddProvider(ctx, aibridgedserver.Provider{Name: "a", Type: "openai"}),
		"remove configured":  c.RemoveProvider(ctx, "a"),
		"remove unknown":     c.RemoveProvider(ctx, "b"),
		"change unknown":     c.ChangeProvider(ctx, "b", disable),
		"settings of a word": c.AddProvider(ctx, aibridgedserver.Provider{Name: "d", Settings: json.RawMessage("x")}),
	} {
		for want, is := range map[string]error{"add again": aibridgedserver.ErrKnownProvider, "remove configured": aibridgedserver.ErrConfigured, "remove unknown": aibridgedserver.ErrUnknownProvider, "change unknown": aibridgedserver.ErrUnknownProvider} {
			if want == name && !errors.Is(err, is) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := c.ChangeProvider(ctx, "c", func(*aibridgedserver.Provider) error { return errors.New("no") }); err == nil || err.Error() != "no" {
		t.Errorf("a change that fails: %v", err)
	}
	if _, err := c.SeedProviders(ctx, []aibridgedserver.Provider{b, b}); err == nil {
		t.Error("two providers of one name were taken")
	}
	if err := c.RemoveProvider(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	check(`a anthropic http://x false {"keys":["${A}"]} configured=true changed=false`)
}

// TestEachChangeIsSeen checks that another control plane on the same database sees that something has changed, and that
// nothing has where a change failed.
func TestEachChangeIsSeen(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	_, _ = c.token(t, "ada")
	other, ctx := openControlPlane(t, c.path, aibridgedserver.Options{}), t.Context()
	number := func() int64 {
		t.Helper()
		n, err := other.ConfigurationChanges(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	server := aibridgedserver.StoredMCPServer{MCPServer: aibridgedserver.MCPServer{ID: "m", URL: "http://m", Everyone: true}}
	for _, one := range []struct {
		what  string
		do    func() error
		fails bool
	}{
		{what: "add", do: func() error { return c.AddProvider(ctx, aibridgedserver.Provider{Name: "a"}) }},
		{what: "add again", do: func() error { return c.AddProvider(ctx, aibridgedserver.Provider{Name: "a"}) }, fails: true},
		{what: "change", do: func() error {
			return c.ChangeProvider(ctx, "a", func(p *aibridgedserver.Provider) error { p.Disabled = true; return nil })
		}},
		{what: "remove", do: func() error { return c.RemoveProvider(ctx, "a") }},
		{what: "remove again", do: func() error { return c.RemoveProvider(ctx, "a") }, fails: true},
		{what: "add a server", do: func() error { return c.AddMCPServer(ctx, server) }},
		{what: "change a server", do: func() error {
			return c.ChangeMCPServer(ctx, "m", func(m *aibridgedserver.StoredMCPServer) error { m.Disabled = true; return nil })
		}},
		{what: "a user's token", do: func() error { return c.SetMCPToken(ctx, "ada", "m", "tok") }},
		{what: "no token", do: func() error { _, err := c.RemoveMCPToken(ctx, "ada", "m"); return err }},
		{what: "remove a server", do: func() error { return c.RemoveMCPServer(ctx, "m") }},
		{what: "remove it again", do: func() error { return c.RemoveMCPServer(ctx, "m") }, fails: true},
	} {
		before := number()
		if err := one.do(); (err != nil) != one.fails {
			t.Errorf("%s: %v", one.what, err)
		}
		if changed := number() != before; changed == one.fails {
			t.Errorf("%s: changed is %v", one.what, changed)
		}
	}
}

// TestMCPServersOfCommands changes servers by commands beside those of a file.
func TestMCPServersOfCommands(t *testing.T) {
	t.Parallel()
	c, ctx := newControlPlane(t), t.Context()
	_, ada := c.token(t, "ada")
	c.configure(t, mcpServer("a", ""), mcpServer("b", ""))
	if err := c.AddMCPServer(ctx, aibridgedserver.StoredMCPServer{MCPServer: mcpServer("c", "", "ada")}); err != nil {
		t.Fatal(err)
	}
	disable := func(m *aibridgedserver.StoredMCPServer) error { m.Disabled = true; return nil }
	if err := c.ChangeMCPServer(ctx, "a", disable); err != nil {
		t.Fatal(err)
	}
	c.configure(t, mcpServer("a", ""), mcpServer("b", "")) // The file says the same: the change stays.
	if got := c.ids(t, ada.UserID); got != "b c" {
		t.Errorf("servers %q", got)
	}
	unused, err := c.ConfigureMCPServers(ctx, []aibridgedserver.MCPServer{mcpServer("c", "")})
	if got := c.ids(t, ada.UserID); err != nil || len(unused) != 1 || unused[0] != "c" || got != "c" {
		t.Errorf("servers %q, not used %v, %v", got, unused, err)
	}
	c.configure(t, mcpServer("a", ""), mcpServer("b", "")) // It names them again.
	if got := c.ids(t, ada.UserID); got != "a b c" {
		t.Errorf("servers %q", got)
	}
	for want, err := range map[error]error{
		aibridgedserver.ErrConfigured:       c.RemoveMCPServer(ctx, "a"),
		aibridgedserver.ErrUnknownMCPServer: c.ChangeMCPServer(ctx, "d", disable),
		aibridgedserver.ErrKnownMCPServer:   c.AddMCPServer(ctx, aibridgedserver.StoredMCPServer{MCPServer: mcpServer("b", "")}),
	} {
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if err := c.SetMCPToken(ctx, "ada", "c", "tok"); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveMCPServer(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if got := c.ids(t, ada.UserID); got != "a b" {
		t.Errorf("servers %q", got)
	}
	c.configure(t, mcpServer("b", ""))
	if err := c.RemoveMCPServer(ctx, "a"); err != nil { // The file no longer names it.
		t.Error(err)
	}
}
