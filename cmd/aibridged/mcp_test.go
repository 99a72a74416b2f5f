package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	mcpgo "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/proto"
)

// mcpServerFor starts an MCP server with tools for those who send one of the tokens, or for all if there are none. It returns
// its address.
func mcpServerFor(t *testing.T, tools []string, tokens ...string) string {
	t.Helper()
	s := server.NewMCPServer("test", "1", server.WithToolCapabilities(true))
	for _, name := range tools {
		kind := "object"
		if name == "unusable" {
			kind = "string"
		}
		s.AddTool(mcpgo.NewToolWithRawSchema(name, "", json.RawMessage(`{"type":"`+kind+`"}`)), func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
			return mcpgo.NewToolResultText("done"), nil
		})
	}
	handler := server.NewStreamableHTTPServer(s)
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if len(tokens) > 0 && !slices.Contains(tokens, token) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(listening.CloseClientConnections)
	t.Cleanup(listening.Close)
	return listening.URL + "/mcp"
}

// serveMCP starts a gateway with MCP servers, in a data directory of its own, and makes tokens for users.
func serveMCP(t *testing.T, servers string, users ...string) (data string) {
	t.Helper()
	data = t.TempDir()
	config := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(config, []byte("mcp_servers:\n"+servers), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	gateway := lineOf(t, ctx, `listens on (http://\S+)`, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", data, "--config", config)
	t.Cleanup(func() {
		cancel()
		if err := <-gateway.ended; err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	for _, user := range users {
		mustRun(t, "token", "create", "--user", user, "--data-dir", data)
	}
	return data
}

func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, _, err := run(t.Context(), args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// setMCPToken runs mcp token set with a token on standard input.
func setMCPToken(t *testing.T, data, input string, args ...string) error {
	t.Helper()
	cmd := newCommand()
	cmd.SetArgs(append([]string{"mcp", "token", "set", "--data-dir", data}, args...))
	cmd.SetIn(strings.NewReader(input))
	return cmd.ExecuteContext(t.Context())
}

func checkLines(t *testing.T, out string, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile(`(?m)` + pattern).MatchString(out) {
			t.Errorf("no line matches %s:\n%s", pattern, out)
		}
	}
}

func TestMCPListShowsWhatAnOperatorNeeds(t *testing.T) {
	t.Setenv("TEST_MCP_TOKEN", "tok-for-all")
	long := strings.Repeat("long", 20)
	good := mcpServerFor(t, []string{"read_file", "read_secret", "write_file", "unusable", long}, "tok-for-all", "tok-ada")
	data := serveMCP(t, `
- {id: good, url: '`+good+`?key=in-the-query', token: '${TEST_MCP_TOKEN}', tool_allow_regex: '^(read|long)', tool_deny_regex: secret}
- {id: down, url: 'http://127.0.0.1:1/mcp'}
- {id: bobs, url: '`+mcpServerFor(t, []string{"read_file"}, "tok-bob")+`', users: [bob]}
- {id: free, url: '`+mcpServerFor(t, nil)+`'}
- {id: blank, url: 'http://127.0.0.1:1/mcp', token: 'file:/nowhere/token'}
`, "ada", "bob")

	out, _, err := run(t.Context(), "mcp", "list", "--data-dir", data)
	if err == nil || err.Error() != "3 of 5 MCP servers do not work" {
		t.Errorf("ended with %v", err)
	}
	checkLines(t, out,
		`^good +http://127\S+/mcp +config +\d+ms +2 +3 +ok$`,
		`^down +http://127.0.0.1:1/mcp +none +\d+m?s +0 +0 +MCP server "down": connect: .*refused$`,
		`^bobs .* none .*credentials refused.*; configure a token, or try it with --user`,
		`^free .* none +\d+ms +0 +0 +ok$`,
		`^blank .* config +0s +0 +0 +open /nowhere/token: no such file`,
		`^good +read_file +bmcp_good_read_file$`,
		`^good +`+long[:63]+`… +bmcp_good_long\S+_[0-9a-f]{12} +renamed: the plain name is too long`,
		`^good +read_secret +- +the expression that denies tools matches its name$`,
		`^good +write_file +- +the expression that allows tools does not match its name$`,
		`^good +unusable +- +the input is not an object$`,
	)
	if strings.Contains(out, "in-the-query") || strings.Contains(out, "tok-") {
		t.Errorf("a credential is shown:\n%s", out)
	}

	if out, _, err = run(t.Context(), "mcp", "list", "--user", "ada", "--data-dir", data); err == nil || strings.Contains(out, "bobs") {
		t.Errorf("as ada: %v\n%s", err, out)
	}
	out, _, err = run(t.Context(), "mcp", "list", "--user", "bob", "--data-dir", data)
	if err == nil {
		t.Errorf("as bob, without a token:\n%s", out)
	}
	checkLines(t, out, "^bobs .*`aibridged mcp token set --user \"bob\" --server bobs` gives this user another token$")

	var reports []mcpReport
	out, _, _ = run(t.Context(), "mcp", "list", "--json", "--data-dir", data)
	decoder := json.NewDecoder(strings.NewReader(out))
	for decoder.More() {
		var report mcpReport
		if err := decoder.Decode(&report); err != nil {
			t.Fatal(err)
		}
		reports = append(reports, report)
	}
	if len(reports) != 5 || reports[4].ID != "good" || reports[4].Error != "" || reports[4].Took <= 0 || len(reports[4].Tools) != 5 ||
		reports[2].ID != "down" || reports[2].Error == "" || strings.Contains(out, "in-the-query") {
		t.Errorf("as JSON: %s", out)
	}
}

// TestMCPTokensOfUsers sets, lists and removes tokens beside a running gateway, whose control plane sees each change.
func TestMCPTokensOfUsers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("tok-first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_MCP_TOKEN", "tok-env")
	address := mcpServerFor(t, []string{"t"}, "tok-ada")
	data := serveMCP(t, "- {id: s, url: '"+address+"', token: 'file:"+file+"'}\n- {id: other, url: '"+address+"', users: [bob]}\n", "ada")
	token := func() (token string) {
		t.Helper()
		err := withStore(t.Context(), settings{dataDir: data}, func(store *store) error {
			id, err := store.UserID(t.Context(), "ada")
			if err != nil {
				return err
			}
			answer, err := store.GetMCPServerAccessTokensBatch(t.Context(), &proto.GetMCPServerAccessTokensBatchRequest{
				UserId: id, McpServerConfigIds: []string{"s"},
			})
			token = answer.GetAccessTokens()["s"]
			return err
		})
		if err != nil {
			t.Error(err)
		}
		return token
	}
	if got := token(); got != "tok-first" {
		t.Errorf("at first: %q", got)
	}
	if err := os.WriteFile(file, []byte("tok-rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := token(); got != "tok-rotated" {
		t.Errorf("after the file has changed: %q", got)
	}
	for _, test := range []struct {
		input string
		args  []string
		want  string
	}{
		{"tok-stdin\n", nil, "tok-stdin"},
		{"ignored", []string{"--token-from", "${TEST_MCP_TOKEN}"}, "tok-env"},
		{"ignored", []string{"--token-file", file}, "tok-rotated"},
		{" tok-ada ", nil, "tok-ada"},
	} {
		if err := setMCPToken(t, data, test.input, append(test.args, "--user", "ada", "--server", "s")...); err != nil {
			t.Errorf("%v: %v", test.args, err)
		}
		if got := token(); got != test.want {
			t.Errorf("%v: %q", test.args, got)
		}
	}
	mustRun(t, "mcp", "list", "--user", "ada", "--data-dir", data)
	out := mustRun(t, "mcp", "token", "list", "--data-dir", data)
	checkLines(t, out, `^ada +s +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +in use$`)
	if strings.Contains(out, "tok-") {
		t.Errorf("a token is shown:\n%s", out)
	}
	if err := setMCPToken(t, data, "tok-ada", "--user", "ada", "--server", "other"); err != nil {
		t.Error(err)
	}
	checkLines(t, mustRun(t, "mcp", "token", "list", "--data-dir", data), `^ada +other +\S+ \S+ +not used: the server is not configured, or not for this user$`)

	mustRun(t, "mcp", "token", "remove", "--user", "ada", "--server", "s", "--data-dir", data)
	if got := token(); got != "tok-rotated" {
		t.Errorf("after the own one was removed: %q", got)
	}
	for want, args := range map[string][]string{
		`has no token of their own`:         {"mcp", "token", "remove", "--user", "ada", "--server", "s"},
		`no user has this name; .*create`:   {"mcp", "list", "--user", "nobody"},
		`unknown command "tok-literal" for`: {"mcp", "token", "set", "tok-literal", "--user", "ada", "--server", "s"},
		`unknown flag: --token$`:            {"mcp", "token", "set", "--token", "tok-literal", "--user", "ada", "--server", "s"},
	} {
		if _, _, err := run(t.Context(), append(args, "--data-dir", data)...); err == nil || !regexp.MustCompile(want).MatchString(err.Error()) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for want, args := range map[string][]string{
		`no user has this name; .*token create`:          {"--user", "nobody", "--server", "s"},
		`no MCP server has this id; .*mcp list`:          {"--user", "ada", "--server", "nowhere"},
		`--token-from: write \$\{NAME`:                   {"--user", "ada", "--server", "s", "--token-from", "tok-literal"},
		`environment variable NO_SUCH_VARIABLE is empty`: {"--user", "ada", "--server", "s", "--token-from", "${NO_SUCH_VARIABLE}"},
		`required flag\(s\) "server" not set`:            {"--user", "ada"},
		`if any flags in the group \[token-file token-`:  {"--user", "ada", "--server", "s", "--token-from", "${A}", "--token-file", file},
		`/nowhere: no such file`:                         {"--user", "ada", "--server", "s", "--token-file", "/nowhere"},
	} {
		err := setMCPToken(t, data, "tok-stdin", args...)
		if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) || strings.Contains(err.Error(), "tok-literal") {
			t.Errorf("%v: %v", args, err)
		}
	}
	for want, input := range map[string]string{
		`the standard input is empty: pipe`: " \n",
		`has a line break`:                  "tok-one\ntok-two\n",
		`the token has a blank`:             "Bearer tok-one",
	} {
		err := setMCPToken(t, data, input, "--user", "ada", "--server", "s")
		if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) || strings.Contains(err.Error(), "tok-") {
			t.Errorf("%q: %v", input, err)
		}
	}
	if _, _, err := run(t.Context(), "mcp", "list", "--data-dir", t.TempDir()); err == nil || !strings.Contains(err.Error(), "no gateway has used") {
		t.Errorf("in an empty directory: %v", err)
	}
}

// TestATokenThatIsRotatedIsTakenAtOnce rotates a token while a session of a gateway is in use: the call that the server
// refuses is made once more, with the new one.
func TestATokenThatIsRotatedIsTakenAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	var accepted atomic.Value
	rotate := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		accepted.Store(token)
	}
	rotate("tok-first")
	s := server.NewMCPServer("test", "1", server.WithToolCapabilities(true))
	s.AddTool(mcpgo.NewTool("t"), func(context.Context, mcpgo.CallToolRequest) (*mcpgo.CallToolResult, error) {
		return mcpgo.NewToolResultText("done"), nil
	})
	handler := server.NewStreamableHTTPServer(s)
	listening := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+accepted.Load().(string) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(listening.Close)
	t.Cleanup(listening.CloseClientConnections)

	err := withStore(t.Context(), settings{dataDir: serveMCP(t, "- {id: s, url: '"+listening.URL+"', token: 'file:"+file+"'}\n", "ada")}, func(store *store) error {
		id, err := store.UserID(t.Context(), "ada")
		if err != nil {
			return err
		}
		client, err := controlplane.InProcess(store)(t.Context())
		if err != nil {
			return err
		}
		//lint:ignore SA1019 It is what the pool builds the sessions with.
		factory := aibridged.NewMCPProxyFactory(slog.Logger{}, nil, func() (aibridged.DRPCClient, error) { return client, nil })
		tools, err := factory.Build(t.Context(), aibridged.Request{InitiatorID: uuid.MustParse(id)}, nil)
		if err != nil {
			return err
		}
		defer tools.Shutdown(context.WithoutCancel(t.Context()))
		if err := tools.Init(t.Context()); err != nil {
			return err
		}
		for _, token := range []string{"tok-first", "tok-second", "tok-third"} {
			rotate(token)
			if _, err := tools.Call(t.Context(), "bmcp_s_t", nil); err != nil {
				t.Errorf("with %s: %v", token, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
