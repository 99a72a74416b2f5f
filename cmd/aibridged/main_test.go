package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// programVariable is the environment variable that makes this test binary run as the program, for tests that need a
// process.
const programVariable = "AIBRIDGED_TEST_IS_THE_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programVariable) != "" {
		main()
		return
	}
	// What configurations of tests name. They are set here for those that run side by side.
	for name, key := range map[string]string{"TEST_KEY": "a-key-of-no-account", "TEST_KEY_2": "another-key-of-no-account"} {
		if err := os.Setenv(name, key); err != nil {
			panic(err)
		}
	}
	flag.Duration("fleet", 8*time.Second, "for how long parts of a fleet of gateways are killed and cut off, on each engine")
	flag.Int("fleet-clients", 12, "how many clients send requests meanwhile")
	goleak.VerifyTestMain(m)
}

// run runs the program with arguments, and returns what it prints and its error.
func run(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	err = cmd.ExecuteContext(ctx)
	return out.String(), errOut.String(), err
}

// TestDemo is the README's first command.
func TestDemo(t *testing.T) {
	out, _, err := run(t.Context(), "demo")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if rows := strings.Count(out, "list_files"); rows != 6 || !strings.Contains(out, "equals what was scripted") {
		t.Errorf("%d rows:\n%s", rows, out)
	}
	calls := regexp.MustCompile(`call bmcp_docs_search {"query":"cache"} at http://\S+\n +round 1: tokens 40 in, 12 out.*\n +round 2: tokens 60 in, 9 out`)
	if n := len(calls.FindAllString(out, -1)); n != 6 {
		t.Errorf("%d calls of the MCP server's tool with both rounds:\n%s", n, out)
	}
}

// TestFault118 makes the mistakes that a person may make: each gives one line that says what to do, and leaves nothing
// half started.
func TestFault118(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const secret = "sk-secret-that-must-not-be-shown"
	twoLines := filepath.Join(t.TempDir(), "two-lines")
	if err := os.WriteFile(twoLines, []byte(secret+"\n"+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_KEY", "x")
	t.Setenv("TEST_TWO_LINES", secret+"\n"+secret)
	provider := "providers: [{name: a, type: anthropic, keys: ['${NO_SUCH_VARIABLE}']}]"
	for name, test := range map[string]struct {
		config string
		args   []string
		want   string
	}{
		"busy port":          {"", []string{"serve", "--admin-listen", "off", "--listen", busy.Addr().String()}, `^address \S+ is in use: .*--listen$`},
		"busy admin port":    {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", busy.Addr().String()}, `^admin address \S+ is in use, perhaps by another gateway: choose another with --admin-listen, or off for none$`},
		"no admin port":      {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", ""}, `^--admin-listen "": write an address with a port, or off$`},
		"admin name":         {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--admin-hosts", "a:4003"}, `^--admin-hosts: "a:4003" is not a host name`},
		"connections":        {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--max-connections", "-1"}, `^--max-connections is -1: it must not be negative`},
		"connections, file":  {"max_connections: -1", nil, `max_connections is -1: it must not be negative$`},
		"any origin":         {"cors_origins: ['*']", nil, `cors_origins: "\*" is not an origin`},
		"origin with a path": {"cors_origins: ['https://a.example/']", nil, `cors_origins: "https://a.example/" is not an origin`},
		"half an origin":     {"cors_origins: [a.example]", nil, `cors_origins: "a.example" is not an origin`},
		"large letters":      {"cors_origins: ['https://A.example']", nil, `cors_origins: "https://A.example" is not an origin`},
		"bad address":        {"", []string{"serve", "--listen", "nowhere:x"}, `^listen on nowhere:x: `},
		"data dir is a file": {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", file}, `a file is in its place: remove that, or name another directory$`},
		"no config":          {"", []string{"serve", "--config", filepath.Join(file, "none")}, `^config: open `},
		"unknown key":        {"listen: 127.0.0.1:0\nprovidres: []\n", nil, `\[2:1\] unknown field "providres"`},
		"not YAML":           {"providers: [" + secret, nil, `config`},
		"wrong type":         {"providers: 7\n", nil, `\[1:12\]`},
		"MCP field":          {"mcp_servers: [{name: x}]\n", nil, `\[1:\d+\] unknown field "name"`},
		"MCP without URL":    {"mcp_servers: [{id: a}]\n", nil, `mcp_servers: entry 1 \("a"\): url is missing$`},
		"MCP command":        {"mcp_servers: [{id: a, url: 'stdio:cat'}]\n", nil, `mcp_servers: entry 1 \("a"\): url: write an address with a host that begins with https`},
		"MCP user in URL":    {"mcp_servers: [{id: a, url: 'http://u:" + secret + "@x'}]\n", nil, `url: it holds a user`},
		"MCP id":             {"mcp_servers: [{id: 'a b', url: 'http://x'}]\n", nil, `mcp_servers: entry 1 \("a b"\): id: write 1 to 32`},
		"MCP id of Coder":    {"mcp_servers: [{id: coder, url: 'http://x'}]\n", nil, `id: coder is the id of Coder's own server`},
		"MCP id twice":       {"mcp_servers: [{id: a, url: 'http://x'}, {id: a, url: 'http://y'}]\n", nil, `entry 2 \("a"\): two servers have this id$`},
		"MCP expression":     {"mcp_servers: [{id: a, url: 'http://x', tool_deny_regex: '('}]\n", nil, `entry 1 \("a"\): tool_deny_regex: error parsing regexp`},
		"MCP token":          {"mcp_servers: [{id: a, url: 'http://x', token: " + secret + "}]\n", nil, `entry 1 \("a"\): token: keep tokens out of this file: write \$\{NAME_OF_A_VARIABLE\} or file:`},
		"MCP token nowhere":  {"mcp_servers: [{id: a, url: 'http://x', token: 'file:'}]\n", nil, `token: keep tokens out of this file`},
		"MCP token inside":   {"mcp_servers: [{id: a, url: 'http://x', token: 'Bearer ${TEST_TWO_LINES}'}]\n", nil, `token: keep tokens out of this file`},
		"MCP for nobody":     {"mcp_servers: [{id: a, url: 'http://x', users: []}]\n", nil, `entry 1 \("a"\): users names nobody: name users, or leave it out, which is everyone$`},
		"MCP for blank":      {"mcp_servers:\n- id: a\n  url: http://x\n  users:\n", nil, `users names nobody`},
		"MCP entry is blank": {"mcp_servers:\n- \n", nil, `entry 1 \(""\): id: write`},
		"MCP for one twice":  {"mcp_servers: [{id: a, url: 'http://x', users: [ada, ada]}]\n", nil, `users: "ada" is named twice$`},
		"MCP for a word":     {"mcp_servers: [{id: a, url: 'http://x', users: ada}]\n", nil, `\[\d+:\d+\]`},
		"missing secret":     {provider, nil, `provider "a": keys: the environment variable NO_SUCH_VARIABLE is empty: set it`},
		"missing file":       {"providers: [{name: a, type: openai, keys: ['file:" + file + "x']}]", nil, `provider "a": keys: open .*no such file`},
		"empty file":         {"providers: [{name: a, type: openai, keys: ['file:" + file + "']}]", nil, `is empty$`},
		"literal key":        {"providers: [{name: a, type: openai, keys: [" + secret + "]}]", nil, `provider "a": keys: keep keys out of this file: write \$\{NAME`},
		"key of no account":  {"providers: [{name: a, type: openai, keys: [{account: x}]}]", nil, `provider "a": keys: keep keys out of this file`},
		"literal key, too":   {"providers: [{name: a, type: openai, keys: [{key: " + secret + ", account: x}]}]", nil, `provider "a": keys: keep keys out of this file`},
		"second key missing": {"providers: [{name: a, type: openai, keys: ['${TEST_KEY}', {key: '${B}', account: x}]}]", nil, `provider "a": keys: the environment variable B is empty`},
		"key of more":        {"providers: [{name: a, type: openai, keys: [{key: '${A}', acount: x}]}]", nil, `unknown field "acount"`},
		"header of no use":   {"providers: [{name: a, type: openai, headers: {Host: " + secret + "}}]", nil, `provider "a": headers: "Host" cannot be set`},
		"header missing":     {"providers: [{name: a, type: openai, headers: {X-A: '${B}'}}]", nil, `provider "a": headers: X-A: the environment variable B is empty`},
		"version of azure":   {"providers: [{name: a, type: openai, api_version: preview}]", nil, `provider "a": api_version and deployments are for providers of type azure$`},
		"azure's address":    {"providers: [{name: a, type: azure}]", nil, `provider "a": base URL: type azure has no address of its own`},
		"retries below zero": {"providers: [{name: a, type: openai, retries: {attempts: -1}}]", nil, `provider "a": retries: attempts is -1: it must be from 0 to 10$`},
		"endless retries":    {"providers: [{name: a, type: openai, retries: {attempts: 100}}]", nil, `provider "a": retries: attempts is 100: it must be from 0 to 10$`},
		"wait below zero":    {"providers: [{name: a, type: openai, retries: {attempts: 1, max_wait: -1s}}]", nil, `provider "a": retries: the longest wait is -1s: it must not be negative$`},
		"retries of a kind":  {"providers: [{name: a, type: openai, retries: 3}]", nil, `\[1:\d+\]`},
		"half of TLS":        {"tls: {cert: x}", nil, `tls: write the paths of two files in PEM, cert and key$`},
		"no certificate":     {"tls: {cert: '" + file + "', key: '" + file + "x'}", nil, `^tls: open \S+: no such file or directory$`},
		"no PEM":             {"tls: {cert: '" + twoLines + "', key: '" + twoLines + "'}", nil, `^tls: \S+ and \S+: tls: failed to find any PEM data in certificate input$`},
		"mode of no socket":  {"listen_mode: '0660'", nil, `^listen_mode is the mode of a socket: --listen has to name one`},
		"mode of nothing":    {"listen_mode: rw", nil, `listen_mode: "rw" is not the mode of a file`},
		"a proxy by name":    {"trusted_proxies: [proxy.internal]", nil, `trusted_proxies: "proxy.internal" is not an address, a network such as 10.0.0.0/8, or unix$`},
		"half a network":     {"trusted_proxies: [10.0.0.1/8]", nil, `trusted_proxies: "10.0.0.1/8" is not`},
		"negative breaker":   {"breaker: {open: -1s}", nil, `breaker: failures, window and open must not be negative$`},
		"zone of budgets":    {"budgets: {zone: Nowhere/Here}", nil, `budgets: zone is "Nowhere/Here": write the name of a time zone, such as Europe/Zurich or UTC$`},
		"local zone":         {"budgets: {zone: Local}", nil, `budgets: zone is "Local": write`},
		"negative admission": {"admission: {per_minute: -1}", nil, `admission: a limit must not be negative; 0 is none$`},
		"bedrock, no region": {"providers: [{name: a, type: bedrock}]", nil, `provider "a": region "": write one of AWS's, for example us-east-1$`},
		"bedrock, literal":   {"providers: [{name: a, type: bedrock, bedrock: {region: us-east-1, credentials: {access_key_id: AKIA, secret_access_key: " + secret + "}}}]", nil, `provider "a": bedrock\.credentials\.access_key_id: write \$\{NAME_OF_A_VARIABLE\} or file:`},
		"bedrock, half":      {"providers: [{name: a, type: bedrock, bedrock: {region: us-east-1, credentials: {role_arn: r}}}]", nil, `provider "a": credentials: a role is assumed with other credentials`},
		"bedrock elsewhere":  {"providers: [{name: a, type: openai, bedrock: {region: us-east-1}}]", nil, `provider "a": bedrock: these settings are for the type bedrock$`},
		"bedrock, unknown":   {"providers: [{name: a, type: bedrock, bedrock: {regoin: us-east-1}}]", nil, `unknown field "regoin"`},
		"vertex, no region":  {"providers: [{name: a, type: vertex}]", nil, `provider "a": region "": write one of Vertex's`},
		"vertex, bad key":    {"providers: [{name: a, type: vertex, vertex: {region: eu, credentials: {service_account: 'file:" + twoLines + "'}}}]", nil, `provider "a": credentials: the service account's key cannot be read`},
		"vertex elsewhere":   {"providers: [{name: a, type: bedrock, vertex: {region: eu}}]", nil, `provider "a": vertex: these settings are for the type vertex$`},
		"bad name, bad type": {"providers: [{name: A_b, type: acme}]", nil, `provider name "A_b": use lower-case letters`},
		"the page's name":    {"providers: [{name: console, type: openai}]", nil, `provider name "console": the page is at /console/`},
		"bad name":           {"providers: [{name: A_b, type: openai}]", nil, `provider name "A_b": use lower-case letters`},
		"same name":          {"providers: [{name: a, type: openai}, {name: a, type: anthropic}]", nil, `two providers are named "a"`},
		"bad URL":            {"providers: [{name: a, type: openai, base_url: 'ftp://x'}]", nil, `provider "a": base URL: scheme "ftp": use https or http$`},
		"URL with a user":    {"providers: [{name: a, type: openai, base_url: 'http://u:" + secret + "@x'}]", nil, `provider "a": base URL: it may hold a host and a path`},
		"entry of no method": {"providers: [{name: a, type: openai, passthrough: [/v1/files]}]", nil, `provider "a": passthrough: entry "/v1/files": write a method, a space and a path, such as "GET /v1/files/"$`},
		"entry of a pattern": {"providers: [{name: a, type: openai, passthrough: ['GET /v1/files/*']}]", nil, `entry "GET /v1/files/\*": the path has '\*', but is no pattern: end it with a slash`},
		"recorded entry":     {"providers: [{name: a, type: anthropic, passthrough: ['POST /v1/']}]", nil, `it covers POST /v1/messages, which is recorded and cannot be passed through$`},
		"relative entry":     {"providers: [{name: a, type: anthropic, passthrough: ['GET v1/files']}]", nil, `the path: it must begin with a slash$`},
		"entries in a line":  {"providers: [{name: a, type: anthropic, passthrough: 'GET /v1/files'}]", nil, `\[1:\d+\]`},
		"usage sometimes":    {"providers: [{name: a, type: openai, usage_in_streams: sometimes}]", nil, `provider "a": usage in streams is "sometimes": use ask or never$`},
		"negative body":      {"limits: {request_body: -1}", nil, `limits\.request_body is -1: it must not be negative$`},
		"negative idle":      {"limits: {idle: -1s}", nil, `limits\.idle is -1s: it must not be negative$`},
		"negative write":     {"limits: {write: -1s}", nil, `limits\.write is -1s: it`},
		"negative dial":      {"limits: {dial: -1s}", nil, `limits\.dial is -1s: it`},
		"negative handshake": {"limits: {tls_handshake: -1s}", nil, `limits\.tls_handshake is -1s: it`},
		"negative header":    {"limits: {response_header: -1s}", nil, `limits\.response_header is -1s: it`},
		"two documents":      {"listen: 127.0.0.1:0\n---\nlimits: {}\n", nil, `it has a second YAML document`},
		"key of two lines":   {"providers: [{name: a, type: openai, keys: ['file:" + twoLines + "']}]", nil, `provider "a": keys: the file \S+ has a line break`},
		"key of two values":  {"providers: [{name: a, type: openai, keys: ['${TEST_TWO_LINES}']}]", nil, `provider "a": keys: the environment variable TEST_TWO_LINES has a line break`},
		"no room":            {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--records-limit", "1000000"}, `^--records-limit is 1000000 bytes: it must be 0, .* or at least 1048576$`},
		"little memory":      {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--memory", "1000000"}, `^--memory is 1000000 bytes: it must be 0, .* or at least 16777216$`},
		"negative room":      {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--records-limit", "-1"}, `^--records-limit is -1 bytes`},
		"expired before":     {"", []string{"token", "create", "--user", "ada", "--expires", "-1h"}, `cannot expire`},
		"nameless token":     {"", []string{"token", "create", "--user", ""}, `username is empty`},
		"no data yet":        {"", []string{"interceptions"}, `no gateway has used the data directory .* yet: start`},
		"nothing to verify":  {"", []string{"verify", "--exchanges", file}, `no gateway has used the data directory .* yet: start`},
		"no exchanges":       {"", []string{"verify"}, `required flag\(s\) "exchanges" not set`},
		"kept in a file":     {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--keep-exchanges", file}, `^make directory of kept exchanges: .*not a directory$`},
		"kept for no time":   {"", []string{"serve", "--keep-exchanges", "x", "--keep-exchanges-for", "0s"}, `must be above zero$`},
		"durability":         {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--durability", "paper"}, `^records: durability "paper": use sync, kernel or memory$`},
		"log format":         {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--log-format", "xml"}, `^--log-format "xml": use text or json$`},
		"when full":          {"", []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--records-when-full", "x"}, `^records: "x" when full: use refuse or go-on$`},
		"nothing to resend":  {"", []string{"records", "resend"}, `no gateway has used the data directory .* yet: start`},
		"unknown command":    {"", []string{"srve"}, `unknown command "srve"`},
	} {
		t.Run(name, func(t *testing.T) {
			args := test.args
			if args == nil {
				args = []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"}
			}
			if test.config != "" {
				path := filepath.Join(t.TempDir(), "config.yaml")
				if err := os.WriteFile(path, []byte(test.config), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config", path)
			}
			data := t.TempDir()
			if !strings.Contains(strings.Join(args, " "), "--data-dir") {
				args = append(args, "--data-dir", data)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // A gateway that is not refused would run on.
			defer cancel()
			out, errOut, err := run(ctx, args...)
			if left, _ := os.ReadDir(data); test.config != "" && len(left) > 0 {
				t.Errorf("the data directory has %v", left)
			}
			if err == nil {
				t.Fatalf("no error; printed %s", out)
			}
			message := err.Error()
			if !regexp.MustCompile(test.want).MatchString(message) {
				t.Errorf("error %q, want %s", message, test.want)
			}
			if strings.Contains(message, "\n") || strings.Contains(message+out+errOut, secret) {
				t.Errorf("not one line without secrets: %q", message)
			}
		})
	}
}

// served is a gateway that runs as `aibridged serve`, with a scripted upstream that runs as `aibridged fakellm`.
type served struct {
	base  string
	admin string // Where operators look.
	data  string
	stop  func() error
}

// serveHere starts both, and stops them at the end of the test. The arguments are added to those of serve.
func serveHere(t *testing.T, args ...string) *served {
	t.Helper()
	return serveWith(t, "", args...)
}

// serveWith does the same with more lines in the configuration.
func serveWith(t *testing.T, more string, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	upstream := lineOf(t, ctx, `listens on (http://\S+)`, "fakellm", "--listen", "127.0.0.1:0")
	s := &served{data: t.TempDir()}
	config := filepath.Join(t.TempDir(), "config.yaml")
	text := "providers:\n- {name: anthropic, type: anthropic, base_url: " + upstream.found + ", keys: ['${TEST_KEY}']}\n" +
		"- {name: openai, type: openai, base_url: " + upstream.found + "/v1, keys: ['${TEST_KEY}']}\n" +
		"- {name: two, type: openai, base_url: " + upstream.found + "/v1, keys: ['${TEST_KEY}', {key: '${TEST_KEY_2}', account: x}]}\n" +
		"- {name: off, type: openai, disabled: true}\n- {name: own, type: openai}\n" +
		"- {name: gone, type: openai, base_url: 'http://127.0.0.1:1/v1', keys: ['${TEST_KEY}']}\n" + more
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", s.data, "--config", config}, args...)
	gateway := lineOf(t, ctx, `(?s)listens on (http://\S+).*for operators +(http://\S+)`, args...)
	s.base, s.admin = gateway.groups[1], gateway.groups[2]
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		<-upstream.ended
		return <-gateway.ended
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	return s
}

// started is a running command and the text that was found in its output.
type started struct {
	found  string   // The first group of the match.
	groups []string // The match and its groups.
	ended  chan error
}

// lineOf starts a command and waits until it has printed a match of pattern.
func lineOf(t *testing.T, ctx context.Context, pattern string, args ...string) started {
	t.Helper()
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		cmd := newCommand()
		cmd.SetArgs(args)
		cmd.SetOut(writer)
		cmd.SetErr(io.Discard)
		err := cmd.ExecuteContext(ctx)
		_ = writer.CloseWithError(io.EOF)
		ended <- err
	}()
	var printed []byte
	for buffer := make([]byte, 4096); ; {
		n, err := reader.Read(buffer)
		printed = append(printed, buffer[:n]...)
		if match := regexp.MustCompile(pattern).FindStringSubmatch(string(printed)); match != nil {
			go func() { _, _ = io.Copy(io.Discard, reader) }() // Ends with the command.
			return started{match[1], match, ended}
		}
		if err != nil {
			t.Fatalf("%v printed %s and ended with %v", args, printed, <-ended)
		}
	}
}

func (s *served) ask(t *testing.T, path, token, body string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Api-Key", token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// TestServe runs the program as the README describes it: tokens and reports work while it serves.
func TestServe(t *testing.T) {
	t.Run("SQLite", testServe)
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Setenv(databaseVariable, newPostgres(t).Address("postgres"))
		testServe(t)
	})
}

func testServe(t *testing.T) {
	s := serveHere(t)
	command := func(args ...string) string {
		t.Helper()
		out, _, err := run(t.Context(), append(args, "--data-dir", s.data)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	token := strings.TrimSuffix(command("token", "create", "--user", "ada"), "\n")
	if !regexp.MustCompile(`^\w{10}-\w{22,}$`).MatchString(token) {
		t.Fatalf("token create printed %q", token)
	}

	const body = `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hello [[usage: input=7 output=5]]"}]}`
	for _, path := range []string{"/anthropic/v1/messages", "/api/v2/aibridged/anthropic/v1/messages"} {
		if status, answer := s.ask(t, path, token, body); status != 200 {
			t.Fatalf("%s: %d %s", path, status, answer)
		}
	}
	if status, answer := s.ask(t, "/off/v1/responses", token, "{}"); status != 503 || !strings.Contains(answer, `provider_disabled: AI provider \"off\" is disabled`) {
		t.Errorf("a disabled provider: %d %s", status, answer)
	}
	if status, answer := s.ask(t, "/own/v1/responses", token, `{"model":"m","input":"Hi"}`); status != 403 || !strings.Contains(answer, "has no key here") {
		t.Errorf("a provider without a key: %d %s", status, answer)
	}

	// The form of the store's tokens is known, whoever's they are: fault 46.
	bobs := strings.TrimSuffix(command("token", "create", "--user", "bob"), "\n")
	if status, answer := s.ask(t, "/anthropic/v1/models/x"+strings.ToLower(bobs)+"y", token, ""); status != 400 || !strings.Contains(answer, "it holds a token of the gateway") {
		t.Errorf("another user's token in a path: %d %s", status, answer)
	}

	var records []map[string]any
	for deadline := time.Now().Add(10 * time.Second); ; { // The end of an interception is stored a moment after its answer.
		records = nil
		for line := range strings.Lines(command("interceptions", "--json", "--user", "ada", "--since", "1h")) {
			var record map[string]any
			if err := json.Unmarshal([]byte(line), &record); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			records = append(records, record)
		}
		if len(records) == 2 && records[0]["ended_at"] != nil && records[1]["ended_at"] != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("recorded %v", records)
		}
	}
	for _, field := range []string{
		"id", "initiator", "initiator_id", "api_key_id", "provider", "provider_name", "model", "client", "client_session_id",
		"user_agent", "correlating_tool_call_id", "credential_kind", "credential_hint", "metadata", "started_at", "ended_at",
		"error_type", "error_message", "prompts", "token_usages", "tool_usages", "model_thoughts",
	} {
		if _, ok := records[0][field]; !ok {
			t.Errorf("a record without %s: %v", field, records[0])
		}
	}
	if table := command("interceptions", "--limit", "1"); strings.Count(table, "\n") != 2 || !strings.Contains(table, "ada") {
		t.Errorf("the table:\n%s", table)
	}

	if list := command("token", "list"); !strings.Contains(list, token[:10]) || strings.Contains(list, token[11:]) || !strings.Contains(list, "valid") {
		t.Errorf("token list:\n%s", list)
	}
	command("token", "revoke", token[:10])
	<-time.After(100 * time.Millisecond) // Until then the gateway may still accept the token.
	if status, _ := s.ask(t, "/anthropic/v1/messages", token, body); status != 403 {
		t.Errorf("a revoked token: %d", status)
	}
	if _, _, err := run(t.Context(), "token", "revoke", "zzzzzzzzzz", "--data-dir", s.data); err == nil || !strings.Contains(err.Error(), "token list") {
		t.Errorf("revoking what is not there: %v", err)
	}
	s.checkHealth(t)
	if err := s.stop(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
}

func (s *served) checkHealth(t *testing.T) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for url, want := range map[string]string{
		s.base + "/healthz": "ok", s.base + "/readyz": "ready", s.admin + "/healthz": "ok", s.admin + "/readyz": "ready",
		s.admin + "/metrics": `aibridged_provider_info{provider_name="off",provider_type="openai",status="disabled"} 1`,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != 200 || !strings.Contains(string(text), want) {
			t.Errorf("%s: %d %s %v", url, response.StatusCode, text, err)
		}
	}
}

// TestFault037CrossOrigin checks that web pages of other sites cannot use a gateway on this machine.
func TestFault037CrossOrigin(t *testing.T) {
	s := serveHere(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/anthropic/v1/messages", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Origin", "https://elsewhere.example")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != 403 {
		t.Errorf("a request of another site's page: %d", response.StatusCode)
	}
}
