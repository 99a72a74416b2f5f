package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// command runs a command on the gateway's data directory with a standard input.
func (s *served) command(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := newCommand()
	cmd.SetArgs(append(args, "--data-dir", s.data))
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// must runs a command that must succeed.
func (s *served) must(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := s.command(t, input, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out
}

// within waits until a question has an answer that matches, and fails if that takes longer than the second which is promised
// and some more for a machine that is busy.
func within(t *testing.T, want string, ask func() string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = ask(); regexp.MustCompile(want).MatchString(got) {
			return
		}
	}
	t.Fatalf("got %s, want %s", got, want)
}

// TestProvidersChangeWhileServeRuns adds, changes, disables and removes providers by commands beside a gateway that runs.
func TestProvidersChangeWhileServeRuns(t *testing.T) {
	s := serveHere(t)
	token := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "ada"))
	var upstream string
	for line := range strings.Lines(s.must(t, "", "provider", "list", "--json")) {
		var report providerReport
		if err := json.Unmarshal([]byte(line), &report); err != nil {
			t.Fatal(err)
		}
		if report.Name == "openai" {
			upstream = report.BaseURL
		}
		if report.From != "config" || report.Live == nil {
			t.Errorf("%s", line)
		}
	}
	ask := func(name string) func() string {
		return func() string {
			status, answer := s.ask(t, "/"+name+"/v1/responses", token, `{"model":"m","input":"Hi"}`)
			return strings.TrimSpace(string(rune('0'+status/100)) + " " + answer)
		}
	}
	const secret = "sk-key-by-standard-input"
	within(t, `^4 .*not supported`, ask("mine"))
	s.must(t, secret+"\n", "provider", "add", "mine", "--type", "openai", "--base-url", upstream, "--key", "team=-", "--header", "X-Team: platform")
	within(t, `^2 `, ask("mine"))
	list := s.must(t, "", "provider", "list")
	checkLines(t, list, `^mine +openai +command +ready$`, `^mine +sk-\S+ +team +ready +- +-$`, `^off +openai +config +disabled$`, `^two +\S+ +x +ready`)
	if strings.Contains(list, secret) || strings.Contains(s.must(t, "", "provider", "list", "--json"), secret) {
		t.Error("a key is shown")
	}
	s.must(t, "", "provider", "disable", "mine")
	within(t, `^5 .*provider_disabled`, ask("mine"))
	s.must(t, "", "provider", "set", "mine", "--passthrough", "GET /v1/files")
	s.must(t, "", "provider", "enable", "mine")
	within(t, `^2 `, ask("mine"))

	// A provider that cannot be made harms no other, and says why.
	s.must(t, "", "provider", "set", "mine", "--key", "${NO_SUCH_VARIABLE}")
	within(t, `(?m)^mine +openai +command +error: .*environment variable NO_SUCH_VARIABLE is empty`, func() string { return s.must(t, "", "provider", "list") })
	if got := ask("mine")(); !strings.HasPrefix(got, "5 ") {
		t.Errorf("a provider that cannot be made: %s", got)
	}
	if got := ask("openai")(); !strings.HasPrefix(got, "2 ") {
		t.Errorf("beside it: %s", got)
	}
	_, metrics := send(t, "GET", s.admin+"/metrics", "", nil)
	if !strings.Contains(metrics, `aibridged_provider_info{provider_name="mine",provider_type="openai",status="error"} 1`) ||
		strings.Contains(metrics, `provider_name="mine",provider_type="openai",status="enabled"`) {
		t.Error("provider_info does not say so")
	}
	s.must(t, "", "provider", "remove", "mine")
	within(t, `^4 .*not supported`, ask("mine"))
	s.must(t, "", "provider", "set", "openai", "--actor-headers")
	within(t, `(?m)^openai +openai +config, changed +ready`, func() string { return s.must(t, "", "provider", "list") })

	for want, args := range map[string][]string{
		`no provider has this name; .*provider list`:             {"set", "nothing"},
		`is there already; .*provider set`:                       {"add", "openai", "--type", "openai"},
		`comes from the configuration file: take it out there`:   {"remove", "openai"},
		`^provider "x": type "acme" is not known: use one of`:    {"add", "x", "--type", "acme"},
		`^provider name "console": the page is at /console/`:     {"add", "console", "--type", "openai"},
		`^provider name "X": use lower-case`:                     {"add", "X", "--type", "openai"},
		`required flag\(s\) "type" not set`:                      {"add", "x"},
		`^--key: write \$\{NAME.* or - for standard input$`:      {"add", "x", "--type", "openai", "--key", secret},
		`^--key: standard input can give one key`:                {"add", "x", "--type", "openai", "--key", "-", "--key", "b=-"},
		`base URL: scheme "ftp"`:                                 {"add", "x", "--type", "openai", "--base-url", "ftp://x"},
		`base URL: type azure has no address of its own`:         {"add", "x", "--type", "azure"},
		`^--header: write NAME: VALUE`:                           {"set", "openai", "--header", "X"},
		`passthrough: entry "x"`:                                 {"set", "openai", "--passthrough", "x"},
		`^--settings: open /nowhere`:                             {"set", "openai", "--settings", "/nowhere"},
		`bedrock: these settings are for the type bedrock$`:      {"set", "openai", "--settings", fileWith(t, "bedrock: {region: us-east-1}")},
		`unknown field "regoin"`:                                 {"set", "openai", "--settings", fileWith(t, "regoin: x")},
		`it is for the provider "y" of type "openai", not for "`: {"set", "openai", "--settings", fileWith(t, "name: y")},
		`keys: write \$\{NAME_OF_A_VARIABLE\}`:                   {"set", "openai", "--settings", fileWith(t, "keys: ["+secret+"]")},
	} {
		_, err := s.command(t, secret, append([]string{"provider"}, args...)...)
		if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	checkLines(t, s.must(t, "", "provider", "list"), `^openai +openai +config, changed +enabled$`, `^Nothing is known of keys: no gateway is running here.$`, `^two +\$\{TEST_KEY_2\} +x$`)
}

func fileWith(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMCPServersChangeWhileServeRuns adds an MCP server by a command: the next conversation has its tools.
func TestMCPServersChangeWhileServeRuns(t *testing.T) {
	s := serveHere(t)
	token := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "ada"))
	address := mcpServerFor(t, []string{"read_file"}, "tok-for-all")
	told := func() string {
		_, answer := s.ask(t, "/openai/v1/responses", token, `{"model":"m","input":"[[tool: bmcp_docs_read_file {}]] [[then]] [[text: it is over]]"}`)
		return answer
	}
	within(t, `cannot call`, told)
	s.must(t, "tok-for-all\n", "mcp-server", "add", "docs", "--url", address+"?secret=x", "--token", "-")
	within(t, `it is over`, told)
	list := s.must(t, "", "mcp-server", "list")
	checkLines(t, list, `^docs +http://\S+/mcp +in the database, encrypted +everyone +command +enabled$`)
	s.must(t, "", "mcp", "list")
	s.must(t, "", "mcp-server", "set", "docs", "--user", "bob")
	within(t, `cannot call`, told)
	s.must(t, "", "mcp-server", "set", "docs", "--everyone")
	within(t, `it is over`, told)
	s.must(t, "", "mcp-server", "disable", "docs")
	within(t, `cannot call`, told)
	s.must(t, "", "mcp-server", "enable", "docs")
	within(t, `it is over`, told)
	s.must(t, "", "mcp-server", "remove", "docs")
	within(t, `cannot call`, told)
	for want, args := range map[string][]string{
		`no MCP server has this id; .*mcp-server list`: {"disable", "docs"},
		`required flag\(s\) "url" not set`:             {"add", "x"},
		`url: write an address`:                        {"add", "x", "--url", "stdio:cat"},
		`--token: write \$\{NAME`:                      {"add", "x", "--url", "http://x", "--token", "tok-literal"},
	} {
		_, err := s.command(t, "", append([]string{"mcp-server"}, args...)...)
		if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) || strings.Contains(err.Error(), "tok-literal") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestSettingsOfAProviderAreStored stores a provider with each setting there is, and gets the same back.
func TestSettingsOfAProviderAreStored(t *testing.T) {
	want := providerConfig{}
	fill(reflect.ValueOf(&want).Elem())
	stored, err := want.stored()
	if err != nil {
		t.Fatal(err)
	}
	got, err := providerOf(stored)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if file, err := (providerConfig{Keys: []keyConfig{{Key: "file:key"}}, Headers: map[string]string{"A": "file:a"}}).stored(); err != nil || strings.Contains(string(file.Settings), `"file:key"`) || strings.Contains(string(file.Settings), `"file:a"`) {
		t.Errorf("relative paths: %s, %v", file.Settings, err)
	}
	stored.Settings = json.RawMessage(`{"of_a_newer_version":1}`)
	if _, err := providerOf(stored); err == nil {
		t.Error("a setting that is not known was passed over")
	}
}

// fill gives each exported field of a value one that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("text <&> \"'\u2028")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("name"), reflect.ValueOf("value"))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i))
			}
		}
	}
}

// TestEncryptionKey makes the mistakes that a person may make with the key, and rotates it beside a gateway that runs.
func TestEncryptionKey(t *testing.T) {
	s := serveHere(t)
	token := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "ada"))
	var upstream string
	for line := range strings.Lines(s.must(t, "", "provider", "list", "--json")) {
		var report providerReport
		if err := json.Unmarshal([]byte(line), &report); err != nil {
			t.Fatal(err)
		}
		upstream = max(upstream, report.BaseURL)
	}
	of := settings{dataDir: s.data}
	info, err := os.Stat(of.encryptionFile())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	first, err := os.ReadFile(of.encryptionFile())
	if err != nil {
		t.Fatal(err)
	}
	s.must(t, "sk-a", "provider", "add", "mine", "--type", "openai", "--base-url", upstream, "--key", "-")
	s.must(t, "", "secrets", "rotate")
	second, err := os.ReadFile(of.encryptionFile())
	if err != nil || string(second) == string(first) || len(second) != len(first) {
		t.Fatalf("after the rotation: %d bytes, %v", len(second), err)
	}
	within(t, "^2", func() string { // The gateway has noticed: it reads the new key.
		status, _ := s.ask(t, "/mine/v1/responses", token, `{"model":"m","input":"Hi"}`)
		return string(rune('0' + status/100))
	})
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	fails := func(want string) {
		t.Helper()
		s.must(t, "", "provider", "list") // It needs no secret.
		_, err := s.command(t, "", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "off")
		if err == nil || !regexp.MustCompile(want).MatchString(err.Error()) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(of.encryptionFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(string(first))
	fails(`key \w+: they are encrypted with another key than the one in the file \S+encryption.key: put it back, or, if it is lost, .*--drop-unreadable`)
	put("short")
	fails(`the file \S+ holds no encryption key: write 32 random bytes in base64`)
	if err := os.Remove(of.encryptionFile()); err != nil {
		t.Fatal(err)
	}
	fails(`the file \S+encryption.key, whose key the secrets .*, is missing: put it back`)
	t.Setenv(encryptionVariable, strings.TrimSpace(string(second)))
	s.must(t, "", "provider", "list")
	if _, err := s.command(t, "", "secrets", "rotate"); err == nil || !strings.Contains(err.Error(), "put a new one in front") {
		t.Errorf("rotating one key: %v", err)
	}
	t.Setenv(encryptionVariable, strings.TrimSpace(string(first))+","+strings.TrimSpace(string(second)))
	s.must(t, "", "secrets", "rotate")
	t.Setenv(encryptionVariable, strings.TrimSpace(string(first)))
	s.must(t, "", "provider", "list")
	t.Setenv(encryptionVariable, "")
	if out := s.must(t, "", "secrets", "rotate", "--drop-unreadable"); !strings.Contains(out, "1 secrets") {
		t.Errorf("dropping printed %q", out)
	}
	checkLines(t, s.must(t, "", "provider", "list"), `^mine +openai`)
}
