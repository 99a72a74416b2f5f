package aibridgedserver_test

import (
	"maps"
	"slices"
	"testing"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged/proto"
)

func TestMCPServers(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t)
	_, alice := c.token(t, "alice")
	_, bob := c.token(t, "bob")
	configs := func(user string) []*proto.MCPServerConfig {
		t.Helper()
		response, err := c.GetMCPServerConfigs(t.Context(), &proto.GetMCPServerConfigsRequest{UserId: user})
		if err != nil {
			t.Fatal(err)
		}
		if response.GetCoderMcpConfig() != nil {
			t.Errorf("a server of the control plane's own: %v", response.GetCoderMcpConfig())
		}
		return response.GetExternalAuthMcpConfigs()
	}
	if got := configs(alice.UserID); len(got) != 0 {
		t.Errorf("at first: %v", got)
	}
	for _, row := range [][]any{
		{"linear", "https://linear.example/mcp", "^get_", "_delete$", 1},
		{"github", "https://github.example/mcp", "", "", 1},
		{"off", "https://off.example/mcp", "", "", 0},
	} {
		_, err := c.db.Writer.ExecContext(t.Context(), `INSERT INTO mcp_servers
			(id, url, tool_allow_regex, tool_deny_regex, enabled) VALUES ($1, $2, $3, $4, $5)`, row...)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range [][]any{
		{alice.UserID, "linear", "alice's"}, {alice.UserID, "github", ""}, {alice.UserID, "off", "unused"},
		{bob.UserID, "linear", "bob's"},
	} {
		_, err := c.db.Writer.ExecContext(t.Context(),
			`INSERT INTO mcp_access_tokens (user_id, mcp_server_id, access_token) VALUES ($1, $2, $3)`, row...)
		if err != nil {
			t.Fatal(err)
		}
	}
	got := configs(bob.UserID)
	if len(got) != 2 || got[0].GetId() != "github" || got[1].GetId() != "linear" ||
		got[1].GetUrl() != "https://linear.example/mcp" || got[1].GetToolAllowRegex() != "^get_" ||
		got[1].GetToolDenyRegex() != "_delete$" {
		t.Errorf("got %v", got)
	}

	ids := []string{"linear", "off", "github", "nowhere", "linear", "", "nowhere"}
	for _, test := range []struct {
		user string
		want map[string]string
	}{
		{alice.UserID, map[string]string{"linear": "alice's", "github": ""}},
		{bob.UserID, map[string]string{"linear": "bob's"}},
		{newID(), map[string]string{}},
	} {
		response, err := c.GetMCPServerAccessTokensBatch(t.Context(), &proto.GetMCPServerAccessTokensBatchRequest{
			UserId: test.user, McpServerConfigIds: ids,
		})
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(response.GetAccessTokens(), test.want) {
			t.Errorf("tokens %v, want %v", response.GetAccessTokens(), test.want)
		}
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			_, granted := response.GetAccessTokens()[id]
			_, refused := response.GetErrors()[id]
			if granted == refused {
				t.Errorf("id %q is in both maps or none", id)
			}
		}
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
