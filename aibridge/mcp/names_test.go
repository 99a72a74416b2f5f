package mcp

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestToolIDs(t *testing.T) {
	long := strings.Repeat("x", 60)
	for name, test := range map[string]struct {
		tools [][2]string // Server and name.
		want  []string    // A "#" stands for a hash.
	}{
		"plain":                   {[][2]string{{"coder", "list_templates"}, {"a-b", "C9"}}, []string{"bmcp_coder_list_templates", "bmcp_a-b_C9"}},
		"characters":              {[][2]string{{"srv", "a.b/c d"}}, []string{"bmcp_srv_a_b_c_d_#"}},
		"no ASCII":                {[][2]string{{"srv", "größe\xff"}}, []string{"bmcp_srv_gr__e__#"}},
		"server's characters":     {[][2]string{{"a.b", "tool"}}, []string{"bmcp_a_b_tool_#"}},
		"as long as can be":       {[][2]string{{"srv", long[:55]}}, []string{"bmcp_srv_" + long[:55]}},
		"too long":                {[][2]string{{"srv", long[:56]}}, []string{"bmcp_srv_" + long[:42] + "_#"}},
		"alike when cut":          {[][2]string{{"srv", long + "a"}, {"srv", long + "b"}}, []string{"bmcp_srv_" + long[:42] + "_#", "bmcp_srv_" + long[:42] + "_#"}},
		"two servers' underscore": {[][2]string{{"a", "b_c"}, {"a_b", "c"}}, []string{"bmcp_a_b_c_#", "bmcp_a_b_c_#"}},
		"twice the same":          {[][2]string{{"srv", "tool"}, {"srv", "tool"}}, []string{"bmcp_srv_tool", ""}},
		"altered like another":    {[][2]string{{"srv", "a.b"}, {"srv", "a_b"}}, []string{"bmcp_srv_a_b_#", "bmcp_srv_a_b"}},
		"nothing at all":          {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ids := toolIDs(toolsOf(test.tools))
			hash := regexp.MustCompile(`_[0-9a-f]{12}$`)
			shown := make([]string, len(ids))
			for i, id := range ids {
				shown[i] = hash.ReplaceAllString(id, "_#")
			}
			if !slices.Equal(shown, test.want) {
				t.Errorf("IDs %q, want %q", ids, test.want)
			}
		})
	}
}

// TestHashIsStable makes sure that IDs stay the same from release to release, since users' prompts and allow-lists name
// them.
func TestHashIsStable(t *testing.T) {
	got := toolIDs(toolsOf([][2]string{{"github", "repos/create.issue"}}))[0]
	if want := "bmcp_github_repos_create_issue_ea28940157ea"; got != want {
		t.Errorf("ID %q, want %q", got, want)
	}
}

func TestPlainNameThatIsAnothersHashedOne(t *testing.T) {
	hashed := toolIDs(toolsOf([][2]string{{"srv", "a.b"}}))[0]
	tools := toolsOf([][2]string{{"srv", "a.b"}, {"srv", strings.TrimPrefix(hashed, "bmcp_srv_")}})
	ids := toolIDs(tools)
	if ids[0] != hashed || ids[1] == "" || ids[1] == hashed {
		t.Errorf("IDs %q", ids)
	}
}

func toolsOf(pairs [][2]string) []Tool {
	var tools []Tool
	for _, pair := range pairs {
		tools = append(tools, Tool{ServerID: pair[0], Name: pair[1]})
	}
	return tools
}

// FuzzToolIDs checks that every provider accepts the IDs, and that they are distinct and independent of the tools'
// order.
func FuzzToolIDs(f *testing.F) {
	f.Add("a", "b_c", "a_b", "c", uint64(1))
	f.Add("srv", "a.b", "srv", "a/b", uint64(2))
	f.Add("", "", strings.Repeat("ü", 80), "x", uint64(3))
	fit := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	f.Fuzz(func(t *testing.T, server1, name1, server2, name2 string, seed uint64) {
		tools := toolsOf([][2]string{{server1, name1}, {server2, name2}, {server1, name2}, {server2, name1}})
		byTool := func(tools []Tool) map[[2]string]string {
			ids := make(map[[2]string]string)
			for i, id := range toolIDs(tools) {
				if id != "" {
					ids[[2]string{tools[i].ServerID, tools[i].Name}] = id
				}
			}
			return ids
		}
		ids := byTool(tools)
		seen := make(map[string]bool)
		for _, tool := range tools {
			id, ok := ids[[2]string{tool.ServerID, tool.Name}]
			if !ok || !fit.MatchString(id) || !strings.HasPrefix(id, idPrefix) {
				t.Errorf("%+v has the ID %q", tool, id)
			}
		}
		for _, id := range ids {
			if seen[id] {
				t.Errorf("ID %q twice", id)
			}
			seen[id] = true
		}
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(tools), func(i, j int) { tools[i], tools[j] = tools[j], tools[i] })
		for tool, id := range byTool(tools) {
			if ids[tool] != id {
				t.Errorf("%v has the ID %q, in another order %q", tool, ids[tool], id)
			}
		}
	})
}
