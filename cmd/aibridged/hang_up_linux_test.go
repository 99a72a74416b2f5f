package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// withTerminal gives a process a terminal of its own, which lasts until the test ends.
func withTerminal(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	controller, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals can be made here")
	}
	t.Cleanup(func() { _ = controller.Close() })
	if err := unix.IoctlSetPointerInt(int(controller.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(controller.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminals can be made here")
	}
	t.Cleanup(func() { _ = terminal.Close() })
	cmd.Stdin, cmd.SysProcAttr = terminal, &syscall.SysProcAttr{Setsid: true, Setctty: true}
}

// withoutTerminal starts a process as a service manager does.
func withoutTerminal(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// TestHangUp checks that the gateway ends in good order when its terminal goes away, and goes on under nohup, which lets
// a program start with that signal ignored.
func TestHangUp(t *testing.T) {
	data := t.TempDir()
	token, _, err := run(t.Context(), "token", "create", "--user", "ada", "--data-dir", data)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("ANTHROPIC_API_KEY", "a-key-of-no-account") // So that there is a provider; it is not asked.
	arguments := func() []string {
		return []string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", data}
	}
	first := programHere(t, nil, arguments()...)
	withTerminal(t, first)
	r := startProcess(t, first)
	// A request that is not over yet keeps the process from ending at once.
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := "POST /anthropic/v1/messages HTTP/1.1\r\nHost: gateway\r\nX-Api-Key: " + strings.TrimSpace(token) + "\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
	if _, err := io.WriteString(conn, head); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	if response, err := http.ReadResponse(answers, nil); err != nil || response.StatusCode != 100 { // Now its body is being read.
		t.Fatalf("the request: %v, %v", response, err)
	}
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for status := 0; status != http.StatusServiceUnavailable; {
		response, _ := send(t, http.MethodGet, r.admin+"/readyz", "", nil)
		status = response.StatusCode
	}
	// The shell and the system may both tell it, so a second one changes nothing.
	if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if response, _ := send(t, http.MethodGet, r.admin+"/healthz", "", nil); response.StatusCode != 200 {
		t.Errorf("after the second signal: %d", response.StatusCode)
	}
	if _, err := io.WriteString(conn, "{x"); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(answers, nil); err != nil || response.StatusCode != 400 {
		t.Errorf("the request: %v, %v", response, err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("after two SIGHUP: %v", err)
	}

	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell here")
	}
	cmd := programHere(t, nil, arguments()...)
	cmd.Path, cmd.Args = shell, append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	r = startProcess(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if response, _ := send(t, http.MethodGet, r.base+"/readyz", "", nil); response.StatusCode != 200 {
			t.Errorf("under nohup: %d", response.StatusCode)
		}
	}
	r.end(t, syscall.SIGTERM)
}

// TestHangUpReadsTheConfigurationAgain sends SIGHUP to a gateway without a terminal: it takes the providers of the changed
// file, keeps what commands made, and goes on as it was where the file is no good.
func TestHangUpReadsTheConfigurationAgain(t *testing.T) {
	data, file := t.TempDir(), filepath.Join(t.TempDir(), "config.yaml")
	write := func(providers string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("providers: ["+providers+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("{name: a, type: openai}, {name: b, type: openai}")
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := programHere(t, log, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", data, "--config", file)
	withoutTerminal(cmd)
	r := startProcess(t, cmd)
	mustRun(t, "provider", "add", "mine", "--type", "openai", "--data-dir", data)
	waitFor := func(lines ...string) {
		t.Helper()
		await(t, func() string {
			metrics := r.metrics(t)
			for _, line := range lines {
				if strings.Contains(metrics, `aibridged_provider_info{provider_name="`+strings.TrimPrefix(line, "no ")) == strings.HasPrefix(line, "no ") {
					return line
				}
			}
			return ""
		})
	}
	hangUp := func() {
		t.Helper()
		if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(`mine",provider_type="openai",status="enabled"`, `b",`)
	write("{name: a, type: openai, disabled: true}, {name: c, type: google}")
	hangUp()
	waitFor(`a",provider_type="openai",status="disabled"`, `c",provider_type="google",status="enabled"`, `mine",`, `no b",`)
	write("{name: a, type: openai, keys: [sk-literal]}")
	hangUp()
	waitForLog := func(text string, times int) {
		t.Helper()
		await(t, func() string {
			lines, err := os.ReadFile(log.Name())
			if err != nil {
				t.Fatal(err)
			}
			return unless(strings.Count(string(lines), text) == times, fmt.Sprintf("%d times in the log: %s\n%s", times, text, lines))
		})
	}
	waitForLog("the configuration was not taken", 1)
	// A file that has become empty is no configuration.
	for i, empty := range []string{"", "providers: []\n", "mcp_servers: []\n"} {
		if err := os.WriteFile(file, []byte(empty), 0o600); err != nil {
			t.Fatal(err)
		}
		hangUp()
		waitForLog("it names no providers, but before it did", i+1)
	}
	waitFor(`a",provider_type="openai",status="disabled"`, `c",provider_type="google",status="enabled"`, `mine",`)
	// What takes a new start is told as long as it differs from what runs, whatever was read in between.
	const more = "the configuration has changed in more than providers"
	for i, text := range []string{"limits: {idle: 1m}\nproviders: [{name: d, type: openai}]\n", "limits: {idle: 1m}\nproviders: [{name: d, type: openai, disabled: true}]\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		hangUp()
		waitForLog(more, i+1)
	}
	waitForLog("the configuration was read again", 3)
	write("{name: d, type: openai}")
	hangUp() // It was still listening.
	waitForLog("the configuration was read again", 4)
	waitForLog(more, 2)
	waitFor(`d",`, `mine",`, `no a",`, `no c",`)
	r.end(t, syscall.SIGTERM)
	// At a start, an empty file is what is wanted, but it is said.
	write("")
	cmd = programHere(t, log, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", data, "--config", file)
	withoutTerminal(cmd)
	r = startProcess(t, cmd)
	waitFor(`mine",`, `no d",`)
	waitForLog("the configuration names no providers: those that it named before are removed", 1)
	r.end(t, syscall.SIGTERM)
	lines, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{
		`"msg":"provider".*"name":"a","type":"openai","from":"configuration file \S+","state":"no key`, `"msg":"provider".*"name":"mine","type":"openai","from":"command"`,
		`"provider is removed".*"name":"b"`, `not taken.*keep keys out of this file`,
	} {
		if !regexp.MustCompile(pattern).Match(lines) {
			t.Errorf("no line %s", pattern)
		}
	}
}
