package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/fakellm"
)

// program returns a process of one version of the program, which has not started.
type program func(t testing.TB, args ...string) *exec.Cmd

// thisProgram is the version under test.
func thisProgram(t testing.TB, args ...string) *exec.Cmd { return programHere(t, nil, args...) }

// must runs a command of a version, which has to succeed, and returns what it prints.
func (p program) must(t testing.TB, input string, args ...string) string {
	t.Helper()
	cmd := p(t, args...)
	var failure bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &failure
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, &failure)
	}
	return strings.TrimSpace(string(out))
}

// pair is a control plane and a gateway of two versions, with a scripted upstream.
type pair struct {
	apart

	programOfControl program // Also of the commands.
	upstream         *httptest.Server
	arrived, answer  chan struct{} // A request with the word "wait" has come; it is to be answered.
	config           string
	token            string
	asked            []string // The prompts of all requests that were answered.
}

func newPair(t *testing.T, control program) *pair {
	t.Helper()
	v := &pair{programOfControl: control, arrived: make(chan struct{}), answer: make(chan struct{})}
	v.apart = apart{served: served{data: t.TempDir()}, control: freeAddress(t), gatewayData: t.TempDir()}
	llm := fakellm.New(fakellm.Options{})
	v.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Wait") != "" {
			v.arrived <- struct{}{}
			<-v.answer
		}
		llm.ServeHTTP(w, r)
	}))
	t.Cleanup(v.upstream.Close)
	t.Setenv(joinTokenVariable, control.must(t, "", "control", "join-token", "--name", "test", "--data-dir", v.data))
	t.Setenv("TEST_KEY", "sk-key-of-the-control-plane")
	v.config = configFile(t, providerText("main", v.upstream.URL)+
		fmt.Sprintf("- {name: openai, type: openai, base_url: '%s/v1', keys: ['${TEST_KEY}']}\n", v.upstream.URL)+
		fmt.Sprintf("- {name: slow, type: anthropic, base_url: '%s', keys: ['${TEST_KEY}'], headers: {X-Wait: yes}}\n", v.upstream.URL))
	return v
}

// command runs a command of the control plane's version.
func (v *pair) command(t *testing.T, input string, args ...string) string {
	t.Helper()
	return v.programOfControl.must(t, input, append(args, "--data-dir", v.data)...)
}

func (v *pair) startControlOf(t *testing.T, control program) *exec.Cmd {
	t.Helper()
	v.programOfControl = control
	cmd := logging(t, control(t, v.controlArgs(v.config)...))
	v.controlAdmin = printedBy(t, cmd, controlPrints)[2]
	return cmd
}

func (v *pair) startGatewayOf(t *testing.T, gateway program) *exec.Cmd {
	t.Helper()
	cmd := logging(t, gateway(t, v.gatewayArgs()...))
	found := printedBy(t, cmd, gatewayPrints)
	v.base, v.admin = found[1], found[2]
	v.becomes(t, 200, "ready")
	return cmd
}

// logging has a process write its log to that of the test.
func logging(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	cmd.Stderr = t.Output()
	t.Cleanup(func() { _ = cmd.Wait() }) // Also if the end of the test kills it.
	return cmd
}

// bodies has a request of each format by its path.
var bodies = []struct{ path, body string }{
	{"/main/v1/messages", `{"model":"m","max_tokens":99,"stream":%v,"messages":[{"role":"user","content":%q}],"tools":[{"name":"ls","input_schema":{"type":"object"}}]}`},
	{"/openai/v1/chat/completions", `{"model":"m","stream":%v,"messages":[{"role":"user","content":%q}],"tools":[{"type":"function","function":{"name":"ls"}}]}`},
	{"/openai/v1/responses", `{"model":"m","stream":%v,"input":%q,"tools":[{"type":"function","name":"ls"}]}`},
}

// converse sends requests of all formats, streamed and not.
func (v *pair) converse(t *testing.T) {
	t.Helper()
	for _, one := range bodies {
		for _, isStream := range []bool{false, true} {
			if status, answer := v.say(t, one.path, v.token, one.body, isStream); status != 200 || !strings.Contains(answer, "Certainly") {
				t.Errorf("%s, stream %v: %d %s", one.path, isStream, status, answer)
			}
		}
	}
}

// say sends a request with a prompt of its own.
func (v *pair) say(t *testing.T, path, token, body string, isStream bool) (status int, answer string) {
	t.Helper()
	prompt := fmt.Sprintf(`Question %d [[text: Certainly]] [[tool: ls {"path":"/"}]] [[usage: input=7 output=5]]`, len(v.asked))
	status, answer = v.ask(t, path, token, fmt.Sprintf(body, isStream, prompt))
	if status == 200 {
		v.asked = append(v.asked, prompt)
	}
	return status, answer
}

// until sends requests until one has a status, which has to be soon.
func (v *pair) until(t *testing.T, want int, path, token string) {
	t.Helper()
	for began, got := time.Now(), 0; got != want; {
		if time.Since(began) > soon {
			t.Fatalf("%s: status %d after %v, want %d", path, got, soon, want)
		}
		got, _ = v.say(t, path, token, bodies[0].body, false)
	}
}

// checkRecords checks that the control plane has one interception of each request, with what was scripted.
func (v *pair) checkRecords(t *testing.T) {
	t.Helper()
	v.flushed(t)
	v.checkStored(t, v.programOfControl)
}

// checkStored does the same with a program of some version, which opens the database.
func (v *pair) checkStored(t *testing.T, with program) {
	t.Helper()
	var prompts []string
	for line := range strings.Lines(with.must(t, "", "interceptions", "--json", "--data-dir", v.data)) {
		var i aibridgedserver.Interception
		check(t, json.Unmarshal([]byte(line), &i))
		if len(i.Prompts) != 1 || len(i.TokenUsages) != 1 || len(i.ToolUsages) != 1 {
			t.Errorf("%d prompts, %d token usages and %d tool usages in %s", len(i.Prompts), len(i.TokenUsages), len(i.ToolUsages), line)
			continue
		}
		prompts = append(prompts, i.Prompts[0].Prompt)
		usage, call := i.TokenUsages[0], i.ToolUsages[0]
		if i.Initiator != "ada" || i.Model != "m" || i.EndedAt == nil || i.ErrorType != nil ||
			usage.InputTokens != 7 || usage.OutputTokens != 5 || call.Tool != "ls" || call.Input != `{"path":"/"}` {
			t.Errorf("recorded: %s", line)
		}
	}
	slices.Sort(prompts)
	if want := slices.Sorted(slices.Values(v.asked)); !slices.Equal(prompts, want) {
		t.Errorf("recorded are the prompts %q, want %q", prompts, want)
	}
}

// TestLastRelease has this version and the last release work together, either way round, and each take up what the other one
// has left. The page docs/operations.md promises it.
func TestLastRelease(t *testing.T) {
	file := lastRelease(t)
	released := program(func(t testing.TB, args ...string) *exec.Cmd { return exec.CommandContext(t.Context(), file, args...) })
	t.Run("control plane first", func(t *testing.T) { // As the documentation says.
		v := newPair(t, thisProgram)
		v.workTogether(t, released, thisProgram)
	})
	t.Run("gateway first", func(t *testing.T) {
		v := newPair(t, released)
		v.workTogether(t, thisProgram, released)
		v.upgradeDatabase(t, released)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Setenv(databaseVariable, newPostgres(t).Address("postgres"))
		v := newPair(t, released)
		v.goOnAfterMigration(t, released)
	})
}

// workTogether runs a gateway of one version with the control plane, and later one of another version on the same directory.
func (v *pair) workTogether(t *testing.T, gateway, later program) {
	control, g := v.startControlOf(t, v.programOfControl), v.startGatewayOf(t, gateway)
	v.token = v.command(t, "", "token", "create", "--user", "ada")
	v.converse(t)
	v.checkRecords(t)
	v.command(t, "sk-another-key\n", "provider", "add", "late", "--type", "anthropic", "--base-url", v.upstream.URL, "--key", "-")
	v.until(t, 200, "/late/v1/messages", v.token)
	v.command(t, "", "provider", "disable", "late")
	v.until(t, 503, "/late/v1/messages", v.token)
	other := v.command(t, "", "token", "create", "--user", "ada")
	v.until(t, 200, "/main/v1/messages", other)
	v.command(t, "", "token", "revoke", other[:10])
	v.until(t, 403, "/main/v1/messages", other)
	v.checkRecords(t)

	// The gateway is killed while it keeps records that the control plane does not have.
	answered := make(chan string, 1)
	go func() {
		status, answer := v.say(t, "/slow/v1/messages", v.token, bodies[0].body, true)
		answered <- fmt.Sprint(status, answer)
	}()
	<-v.arrived
	check(t, control.Process.Kill())
	_ = control.Wait()
	close(v.answer)
	if got := <-answered; !strings.Contains(got, "Certainly") {
		t.Errorf("a request that ran when the control plane was killed: %s", got)
	}
	if v.pending(t) == 0 {
		t.Error("no record waits")
	}
	check(t, g.Process.Kill())
	_ = g.Wait()
	control, g = v.startControlOf(t, v.programOfControl), v.startGatewayOf(t, later)
	v.checkRecords(t)
	v.converse(t)
	v.checkRecords(t)
	(&running{cmd: g}).end(t, syscall.SIGTERM)
	(&running{cmd: control}).end(t, syscall.SIGTERM)
}

// upgradeDatabase has this version take the database of the last release, which then refuses it if this version's tables are
// newer.
func (v *pair) upgradeDatabase(t *testing.T, released program) {
	before := tableVersion(t, v.data)
	control, g := v.startControlOf(t, thisProgram), v.startGatewayOf(t, thisProgram)
	v.converse(t) // The token is still valid.
	v.checkRecords(t)
	(&running{cmd: g}).end(t, syscall.SIGTERM)
	(&running{cmd: control}).end(t, syscall.SIGTERM)
	s := settings{dataDir: v.data}
	switch after := tableVersion(t, v.data); {
	case after < before:
		t.Errorf("the tables were of version %d and are of version %d", before, after)
	case after == before: // There was no migration: the release works on, and what it does to a newer database shows with one of the future.
		v.checkStored(t, released)
		inDatabase(t, s, fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, 1)`, after+1))
	}
	check := unchanged(t, s)
	for _, args := range [][]string{v.controlArgs(v.config), append(serveArgs(v.data), "--config", v.config), {"token", "list", "--data-dir", v.data}} {
		out, err := released(t, args...).CombinedOutput()
		if _, isExit := errors.AsType[*exec.ExitError](err); !isExit || !strings.Contains(string(out), "use the newer program") {
			t.Errorf("%s of the last release on a newer database: %v, %s", args[0], err, out)
		}
	}
	check("the last release")
}

// goOnAfterMigration has this version bring the tables up to date while a control plane of the last release works on them: that
// one goes on.
func (v *pair) goOnAfterMigration(t *testing.T, released program) {
	control, g := v.startControlOf(t, released), v.startGatewayOf(t, released)
	v.token = v.command(t, "", "token", "create", "--user", "ada")
	v.converse(t)
	program(thisProgram).must(t, "", "token", "list", "--data-dir", t.TempDir())
	v.converse(t)
	v.flushed(t)
	v.checkStored(t, thisProgram)
	(&running{cmd: g}).end(t, syscall.SIGTERM)
	(&running{cmd: control}).end(t, syscall.SIGTERM)
	// If there was no migration, it works on.
	if out, err := released(t, "token", "list", "--data-dir", v.data).CombinedOutput(); err != nil && !strings.Contains(string(out), "use the newer program") {
		t.Errorf("a command of the last release afterwards: %v, %s", err, out)
	}
}

// tableVersion returns the version of the tables in a data directory.
func tableVersion(t *testing.T, data string) (version int64) {
	t.Helper()
	db, err := sql.Open("sqlite", settings{dataDir: data}.database())
	check(t, err)
	defer db.Close()
	check(t, db.QueryRowContext(t.Context(), `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&version))
	return version
}
