package aibridgedserver_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/proto"
)

// configs returns the MCP servers that a gateway gets for a user, as id and URL.
func (c controlPlane) configs(tb testing.TB, user string) []*proto.MCPServerConfig {
	tb.Helper()
	response, err := c.GetMCPServerConfigs(tb.Context(), &proto.GetMCPServerConfigsRequest{UserId: user})
	if err != nil {
		tb.Fatal(err)
	}
	if response.GetCoderMcpConfig() != nil {
		tb.Errorf("a server of the control plane's own: %v", response.GetCoderMcpConfig())
	}
	return response.GetExternalAuthMcpConfigs()
}

// ids returns the ids of the MCP servers that a gateway gets for a user.
func (c controlPlane) ids(tb testing.TB, user string) string {
	tb.Helper()
	var ids []string
	for _, config := range c.configs(tb, user) {
		ids = append(ids, config.GetId())
	}
	return strings.Join(ids, " ")
}

// mcpTokens asks for tokens, and checks that each id is in exactly one of the maps.
func (c controlPlane) mcpTokens(tb testing.TB, user string, ids ...string) (tokens, failures map[string]string) {
	tb.Helper()
	response, err := c.GetMCPServerAccessTokensBatch(tb.Context(), &proto.GetMCPServerAccessTokensBatchRequest{
		UserId: user, McpServerConfigIds: ids,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tokens, failures = response.GetAccessTokens(), response.GetErrors()
	for _, id := range ids {
		_, granted := tokens[id]
		_, refused := failures[id]
		if granted == refused {
			tb.Errorf("id %q is in both maps or none", id)
		}
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(ids))); len(tokens)+len(failures) != len(distinct) {
		tb.Errorf("asked for %v, got %v and %v", distinct, tokens, failures)
	}
	return tokens, failures
}

func (c controlPlane) configure(tb testing.TB, servers ...aibridgedserver.MCPServer) {
	tb.Helper()
	if _, err := c.ConfigureMCPServers(tb.Context(), servers); err != nil {
		tb.Fatal(err)
	}
}

// mcpServer is a server for users, or for everyone if there are none.
func mcpServer(id, tokenFrom string, users ...string) aibridgedserver.MCPServer {
	return aibridgedserver.MCPServer{
		ID: id, URL: "https://" + id + ".example/mcp", TokenFrom: tokenFrom, Everyone: len(users) == 0, Users: users,
	}
}

func TestMCPServersOfAUser(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	_, alice := c.token(t, "alice")
	if got := c.configs(t, alice.UserID); len(got) != 0 {
		t.Errorf("at first: %v", got)
	}
	chosen := mcpServer("linear", "")
	chosen.ToolAllowRegex, chosen.ToolDenyRegex = "^get_", "_delete$"
	c.configure(t, chosen, mcpServer("github", "", "bob", "alice"), mcpServer("gitlab", "", "bob"))
	_, bob := c.token(t, "bob") // Made after the server that names him.
	for user, want := range map[string]string{
		alice.UserID: "github linear", bob.UserID: "github gitlab linear", newID(): "linear",
	} {
		if got := c.ids(t, user); got != want {
			t.Errorf("servers %q, want %q", got, want)
		}
	}
	if got := c.configs(t, alice.UserID)[1]; got.GetUrl() != "https://linear.example/mcp" ||
		got.GetToolAllowRegex() != "^get_" || got.GetToolDenyRegex() != "_delete$" {
		t.Errorf("got %v", got)
	}
	got, err := c.MCPServers(t.Context())
	want := []aibridgedserver.MCPServer{mcpServer("github", "", "alice", "bob"), mcpServer("gitlab", "", "bob"), chosen}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("listed %v, %v", got, err)
	}
}

// TestMCPServersAreConfiguredAnew changes, removes and brings back servers, as starts with other configuration files do.
func TestMCPServersAreConfiguredAnew(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	_, alice := c.token(t, "alice")
	c.configure(t, mcpServer("a", "", "alice"), mcpServer("b", ""))
	if err := c.SetMCPToken(t.Context(), "alice", "a", "alice's"); err != nil {
		t.Fatal(err)
	}
	_, err := c.db.Writer.ExecContext(t.Context(), `INSERT INTO mcp_servers (id, url) VALUES ('z', 'https://z.example')`)
	if err != nil {
		t.Fatal(err)
	}
	c.configure(t, mcpServer("b", "", "bob"))
	if got := c.ids(t, alice.UserID); got != "z" {
		t.Errorf("after a was removed and b is for bob: %q", got)
	}
	if tokens, _ := c.mcpTokens(t, alice.UserID, "a", "b", "z"); !maps.Equal(tokens, map[string]string{"z": ""}) {
		t.Errorf("tokens %v", tokens)
	}
	if tokens, err := c.MCPTokens(t.Context()); err != nil || len(tokens) != 1 || tokens[0].Used {
		t.Errorf("listed %v, %v", tokens, err)
	}
	c.configure(t, mcpServer("a", ""))
	if got := c.ids(t, alice.UserID); got != "a z" {
		t.Errorf("after a came back: %q", got)
	}
	if tokens, _ := c.mcpTokens(t, alice.UserID, "a"); tokens["a"] != "alice's" {
		t.Error("the user's token is gone with the server")
	}
	if c.ids(t, newID()) != "a z" {
		t.Error("a is not for everyone now")
	}
}

func TestMCPServersThatAreRefused(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	c.configure(t, mcpServer("a", ""))
	for want, change := range map[string]func(*aibridgedserver.MCPServer){
		"1 to 32 letters":             func(m *aibridgedserver.MCPServer) { m.ID = "a b" },
		"beginning with a letter":     func(m *aibridgedserver.MCPServer) { m.ID = "_a" },
		"write 1 to 32":               func(m *aibridgedserver.MCPServer) { m.ID = strings.Repeat("a", 33) },
		"Coder's own":                 func(m *aibridgedserver.MCPServer) { m.ID = "coder" },
		"url is missing":              func(m *aibridgedserver.MCPServer) { m.URL = "" },
		"begins with https://":        func(m *aibridgedserver.MCPServer) { m.URL = "stdio:cat" },
		"with a host":                 func(m *aibridgedserver.MCPServer) { m.URL = "https:///mcp" },
		"it holds a user":             func(m *aibridgedserver.MCPServer) { m.URL = "https://u:secret@x" },
		"url: write":                  func(m *aibridgedserver.MCPServer) { m.URL = "https://x:secret" },
		"tool_allow_regex":            func(m *aibridgedserver.MCPServer) { m.ToolAllowRegex = "(" },
		"tool_deny_regex":             func(m *aibridgedserver.MCPServer) { m.ToolDenyRegex = "[" },
		"users names nobody":          func(m *aibridgedserver.MCPServer) { m.Everyone = false },
		`users: "": username`:         func(m *aibridgedserver.MCPServer) { m.Users = []string{""} },
		`users: "ada" is named twice`: func(m *aibridgedserver.MCPServer) { m.Users = []string{"ada", "bob", "ada"} },
		`begins or ends with a blank`: func(m *aibridgedserver.MCPServer) { m.Users = []string{"ada "} },
	} {
		m := mcpServer("b", "")
		change(&m)
		_, err := c.ConfigureMCPServers(t.Context(), []aibridgedserver.MCPServer{m})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if got := c.ids(t, newID()); got != "a" {
		t.Errorf("after refusals: %q", got)
	}
}

// TestMCPTokens asks for own tokens and those for all, in every combination, while they change.
func TestMCPTokens(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	shared := map[string]string{"file:shared": "for-all", "file:empty": "", "file:lines": "two\nlines"}
	resolving := openControlPlane(t, c.path, aibridgedserver.Options{Secret: func(reference string) (string, error) {
		if token, ok := shared[reference]; ok {
			return token, nil
		}
		return "", errors.New("no such file")
	}})
	_, alice := c.token(t, "alice")
	_, bob := c.token(t, "bob")
	c.configure(t, mcpServer("own", ""), mcpServer("shared", "file:shared"), mcpServer("gone", "file:gone"),
		mcpServer("empty", "file:empty"), mcpServer("lines", "file:lines"), mcpServer("bobs", "file:shared", "bob"))
	for _, server := range []string{"own", "shared", "gone", "bobs"} {
		if err := c.SetMCPToken(t.Context(), "alice", server, "alice's-"+server); err != nil {
			t.Fatal(err)
		}
	}
	ids := []string{"own", "shared", "gone", "empty", "lines", "bobs", "nowhere", "", "own", "nowhere"}
	tokens, failures := resolving.mcpTokens(t, alice.UserID, ids...)
	want := map[string]string{"own": "alice's-own", "shared": "alice's-shared", "gone": "alice's-gone"}
	if !maps.Equal(tokens, want) {
		t.Errorf("alice's tokens %v", tokens)
	}
	if !strings.Contains(failures["empty"], "empty") || !strings.Contains(failures["lines"], "line break") || failures["bobs"] != failures["nowhere"] {
		t.Errorf("alice's errors %v", failures)
	}
	tokens, failures = resolving.mcpTokens(t, bob.UserID, ids...)
	if want = map[string]string{"own": "", "shared": "for-all", "bobs": "for-all"}; !maps.Equal(tokens, want) || failures["gone"] != "no such file" {
		t.Errorf("bob's tokens %v, errors %v", tokens, failures)
	}
	if tokens, _ := c.mcpTokens(t, bob.UserID, "own", "shared"); !maps.Equal(tokens, map[string]string{"own": ""}) {
		t.Errorf("a control plane that resolves no references: %v", tokens)
	}

	shared["file:shared"] = "rotated"
	if err := c.SetMCPToken(t.Context(), "alice", "own", "renewed"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if removed, err := c.RemoveMCPToken(t.Context(), "alice", "shared"); removed != want || err != nil {
			t.Errorf("removed: %v, %v", removed, err)
		}
	}
	if removed, err := c.RemoveMCPToken(t.Context(), "nobody", "own"); removed || err != nil {
		t.Errorf("removed a token of nobody: %v, %v", removed, err)
	}
	tokens, _ = resolving.mcpTokens(t, alice.UserID, "own", "shared")
	if want = map[string]string{"own": "renewed", "shared": "rotated"}; !maps.Equal(tokens, want) {
		t.Errorf("after changes: %v", tokens)
	}

	listed, err := c.MCPTokens(t.Context())
	if err != nil || len(listed) != 3 {
		t.Fatalf("listed %v, %v", listed, err)
	}
	for i, want := range []aibridgedserver.MCPToken{
		{Username: "alice", ServerID: "bobs"}, {Username: "alice", ServerID: "gone", Used: true}, {Username: "alice", ServerID: "own", Used: true},
	} {
		if listed[i].SetAt.IsZero() {
			t.Error("when it was set is not known")
		}
		listed[i].SetAt = want.SetAt
		if listed[i] != want {
			t.Errorf("listed %+v, want %+v", listed[i], want)
		}
	}
}

func TestMCPTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	c.token(t, "alice")
	c.configure(t, mcpServer("a", ""))
	for _, token := range []string{"", "two words", "two\nlines", "se\x00cret", "secr\u00e9t", strings.Repeat("secret", 10_000)} {
		if err := c.SetMCPToken(t.Context(), "alice", "a", token); err == nil || strings.Contains(err.Error(), "secr") {
			t.Errorf("%.20q: %v", token, err)
		}
	}
	if err := c.SetMCPToken(t.Context(), "bob", "a", "token"); !errors.Is(err, aibridgedserver.ErrUnknownUser) {
		t.Errorf("unknown user: %v", err)
	}
	if err := c.SetMCPToken(t.Context(), "alice", "b", "token"); !errors.Is(err, aibridgedserver.ErrUnknownMCPServer) {
		t.Errorf("unknown server: %v", err)
	}
	if tokens, err := c.MCPTokens(t.Context()); err != nil || len(tokens) != 0 {
		t.Errorf("listed %v, %v", tokens, err)
	}
}

func TestMCPServersOfNobody(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	for _, user := range []string{"", "alice"} {
		_, err := c.GetMCPServerConfigs(t.Context(), &proto.GetMCPServerConfigsRequest{UserId: user})
		if err == nil || drpcerr.Code(err) != 0 {
			t.Errorf("servers of %q: %v", user, err)
		}
		_, err = c.GetMCPServerAccessTokensBatch(t.Context(), &proto.GetMCPServerAccessTokensBatchRequest{UserId: user})
		if err == nil || drpcerr.Code(err) != 0 {
			t.Errorf("tokens of %q: %v", user, err)
		}
	}
}
