package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// hostile are texts that would show if a page took them for a part of itself.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</pre></title><svg/onload=alert(1)>`, `' onfocus='alert(1)' autofocus='`, `javascript:alert(1)`,
	`<iframe src="https://evil.example"></iframe>`, `<meta http-equiv="refresh" content="0;url=https://evil.example">`, `<link rel=stylesheet href=//evil.example/x.css>`,
	`<base href="https://evil.example/">`,
}

// TestConsole clicks through the page in a browser, over conversations with hostile texts.
func TestConsole(t *testing.T) {
	if isApart() {
		t.Skip("the page of a control plane that runs alone does not show what runs")
	}
	browser := findChromium(t)
	u := newUser(t)
	ask := func(session, agent, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, program.url+"/anthropic/v1/messages", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Api-Key", u.token)
		r.Header.Set("User-Agent", "claude-cli/2.1.330 (external, cli)")
		r.Header.Set("X-Claude-Code-Session-Id", session)
		if agent != "" {
			r.Header.Set("X-Claude-Code-Agent-Id", agent)
		}
		response, err := u.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
	}
	const first = `Find the zebra in this repository. [[think: It may be in the tests.]] [[tool: Grep {\"pattern\":\"zebra\"}]] [[usage: input=1200 output=340 cache_read=20000]]`
	request := `{"model":%q,"max_tokens":99,"stream":true,"tools":[{"name":"Grep","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"%s"}%s]}`
	ask("zebra-session", "", fmt.Sprintf(request, "claude-opus-4-8", first, ""))
	var call []byte
	err := poll(t.Context(), func() (bool, error) {
		records, err := program.run("interceptions", "--json", "--user", u.name)
		call = regexp.MustCompile(`toolu_[A-Za-z0-9_]+`).Find(records)
		return call != nil, err
	})
	if err != nil {
		t.Fatal(err)
	}
	ask("zebra-session", "", fmt.Sprintf(request, "claude-opus-4-8", first,
		fmt.Sprintf(`,{"role":"assistant","content":[{"type":"tool_use","id":%q,"name":"Grep","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":%[1]q,"content":"none"}]}`, call)))
	ask("zebra-session", "a-scout", fmt.Sprintf(request, "claude-haiku-4-5", "Look into the documentation, too. [[usage: input=300 output=50]]", ""))
	for n, text := range hostile {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
		ask(fmt.Sprintf("%s %d", text, n), "", fmt.Sprintf(request, text, quoted+` [[tool: Grep {\"x\":\"`+strings.ReplaceAll(quoted, `\"`, `'`)+`\"}]]`, ""))
	}
	admin, err := program.run("token", "create", "--user", program.newName("admin"), "--admin")
	if err != nil {
		t.Fatal(err)
	}
	program.keepSecret(strings.TrimSpace(string(admin)))
	if _, err := program.run("budget", "set", "--user", u.name, "--limit", "50", "--per", "month"); err != nil {
		t.Fatal(err)
	}
	if _, err := program.run("budget", "set", "--group", hostile[0], "--limit", "2000", "--per", "week"); err != nil {
		t.Fatal(err)
	}
	// The program derives every ten seconds. A command does at once.
	err = poll(t.Context(), func() (bool, error) {
		printed, err := program.run("usage", "--by", "session", "--user", u.name)
		return bytes.Count(printed, []byte("\n")) > len(hostile)+2, err
	})
	if err != nil {
		t.Fatal(err)
	}

	pictures := os.Getenv("CONSOLE_PICTURES") // A directory, for those of the documentation.
	cmd := exec.CommandContext(t.Context(), "node", "browse.mjs", browser, program.url, pictures)
	cmd.Dir, cmd.Stdin, cmd.Stderr = "console", bytes.NewReader(admin), os.Stderr
	printed, err := cmd.Output()
	if err != nil || strings.Contains(string(printed), "wrong: ") || !strings.Contains(string(printed), "looked at 44 views") {
		t.Errorf("%v\n%s", err, printed)
	}
}

// findChromium returns the path of a Chromium or Chrome.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
	if _, err := os.Stat(mac); err == nil {
		return mac
	}
	if os.Getenv("CI") != "" {
		t.Fatal("there is no chromium: apt-get install chromium")
	}
	t.Skip("there is no chromium on the PATH: apt-get install chromium")
	return ""
}
