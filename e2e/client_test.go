package e2e

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clientPatience is how long a client may take for a turn. Codex takes longer if its WebSocket is refused with a status
// other than 426.
const clientPatience = 60 * time.Second

// client is a program from the registry, run as on a machine that has nothing else of it.
type client struct {
	name        string // The name of its executable.
	environment []string
	home        string
	directory   string // In which it runs.
}

// newClient returns a client with a home directory of its own, that can reach nothing but this machine.
func newClient(t *testing.T, name string) client {
	t.Helper()
	nowhere := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nowhere.Close)
	home := t.TempDir()
	c := client{name: name, home: home, directory: t.TempDir(), environment: []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1",
	}}
	for _, variable := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		c.environment = append(c.environment, variable+"="+nowhere.URL)
	}
	return c
}

// run runs the client to its end and returns the lines that it prints. Processes that the client started are ended too.
func (c client) run(t *testing.T, args ...string) []string {
	t.Helper()
	executable, err := filepath.Abs(filepath.Join("clients", "node_modules", ".bin", c.name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(executable); err != nil {
		t.Fatalf("%v: `make e2e` installs the clients", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), clientPatience)
	defer cancel()
	var printed, complaints bytes.Buffer
	cmd := exec.CommandContext(ctx, executable, args...)
	cmd.Env, cmd.Dir = c.environment, c.directory
	cmd.Stdout, cmd.Stderr = &printed, &complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v (limit %s)\n%s\n%s", c.name, err, clientPatience, printed.String(), complaints.String())
	}
	return strings.Split(strings.TrimSpace(printed.String()), "\n")
}

// agentTurn is what must be recorded of a turn in which an agent called one tool and reported its result.
type agentTurn struct {
	user     *user
	client   string // As it is recorded.
	session  string
	provider string
	prompt   string
	thought  string
	call     call   // Without ids.
	tokens   tokens // Of both answers.
}

// check compares the two interceptions of a turn with what the agent reported. It returns them.
func (want agentTurn) check(t *testing.T) []interception {
	t.Helper()
	turn := want.user.recorded(t, 2)
	first, second := turn[0], turn[1]
	var spent tokens
	for _, i := range turn {
		if i.Client != want.client || i.ClientSessionID == nil || *i.ClientSessionID != want.session || want.session == "" {
			t.Errorf("recorded is the client %q in another session than %q:\n%s", i.Client, want.session, indented(i))
		}
		if i.ErrorType != nil || i.Initiator != want.user.name || i.APIKeyID != want.user.keyID() || i.ProviderName != want.provider ||
			i.CredentialKind != "centralized" || i.CredentialHint != providerHint {
			t.Errorf("recorded is\n%s", indented(i))
		}
		for _, usage := range i.TokenUsages {
			spent.Input += usage.InputTokens
			spent.Output += usage.OutputTokens
			spent.CacheRead += usage.CacheReadInputTokens
			spent.CacheWrite += usage.CacheWriteInputTokens
		}
	}
	if spent != want.tokens {
		t.Errorf("recorded is a cost of %+v, the client saw %+v", spent, want.tokens)
	}
	if len(first.Prompts) != 1 || first.Prompts[0].Prompt != want.prompt || first.CorrelatingToolCallID != nil {
		t.Errorf("recorded are the prompts %s, typed was %q", indented(first.Prompts), want.prompt)
	}
	if len(first.ModelThoughts) != 1 || first.ModelThoughts[0].Content != want.thought {
		t.Errorf("recorded are the thoughts %s, want %q", indented(first.ModelThoughts), want.thought)
	}
	if len(first.ToolUsages) != 1 {
		t.Fatalf("recorded are the calls %s, want one", indented(first.ToolUsages))
	}
	use := first.ToolUsages[0]
	if (call{Tool: use.Tool, Input: use.Input}) != want.call || use.Injected || use.ToolCallID == "" {
		t.Errorf("recorded is the call %s, want %+v", indented(use), want.call)
	}
	if second.CorrelatingToolCallID == nil || *second.CorrelatingToolCallID != use.ToolCallID {
		t.Errorf("the second interception has not the result of the call %s:\n%s", use.ToolCallID, indented(second))
	}
	if len(second.Prompts) != 0 || len(second.ToolUsages) != 0 || len(second.ModelThoughts) != 0 {
		t.Errorf("the second interception is\n%s", indented(second))
	}
	return turn
}
