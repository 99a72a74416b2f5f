package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// visitor is a browser that keeps cookies.
type visitor struct {
	*http.Client

	base string
}

func newVisitor(t *testing.T, base string) visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return visitor{&http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}, base}
}

func (v visitor) ask(t *testing.T, method, path string, form url.Values) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, v.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := v.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(page)
}

func (v visitor) get(t *testing.T, path string) string {
	t.Helper()
	status, page := v.ask(t, http.MethodGet, path, nil)
	if status != http.StatusOK {
		t.Errorf("%s: %d\n%s", path, status, page)
	}
	return page
}

// TestConsole looks at the page of serve: what was asked, the bytes that were kept, what runs, and how the gateway does.
func TestConsole(t *testing.T) {
	t.Parallel()
	s := serveHere(t, "--keep-exchanges", t.TempDir())
	token := func(args ...string) string {
		t.Helper()
		out, _, err := run(t.Context(), append([]string{"token", "create", "--data-dir", s.data, "--user"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	adas, bobs := token("ada"), token("bob", "--admin")
	body := `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hello ` + bobs + ` [[usage: input=7 output=5]]"}]}`
	if status, answer := s.ask(t, "/anthropic/v1/messages", adas, body); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	v := newVisitor(t, s.base)
	if page := v.get(t, "/console"); !strings.Contains(page, "<h1>Sign in</h1>") {
		t.Errorf("not the page for signing in:\n%s", page)
	}
	if page := func() string {
		_, page := v.ask(t, http.MethodPost, "/console/sign-in", url.Values{"token": {bobs}})
		return page
	}(); !strings.Contains(page, "bob (administrator)") {
		t.Fatalf("not signed in:\n%s", page)
	}
	health := v.get(t, "/console/health")
	for _, want := range []string{"The gateway is ready", "anthropic", "disabled", "Records that wait", "genai-prices"} {
		if !strings.Contains(health, want) {
			t.Errorf("health does not say %q:\n%s", want, health)
		}
	}
	id := interceptionOf(t, v)
	page := ""
	await(t, func() string {
		page = v.get(t, "/console/interceptions/"+id)
		return unless(strings.Contains(page, "The records are what the bytes say."), page)
	})
	for _, want := range []string{"Request", "Answer", "max_tokens", "bytes, as they were", "end_turn"} {
		if !strings.Contains(page, want) {
			t.Errorf("the interception does not show %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, bobs) || strings.Contains(page, adas) || strings.Contains(page, "a-key-of-no-account") {
		t.Errorf("the page holds a token:\n%s", page)
	}
	if got := v.get(t, "/console/interceptions/"+id+"/bytes/0/request"); got != body {
		t.Errorf("the bytes of the request are %q", got)
	}

	// What is large is not compared within the page.
	large := strings.Replace(body, "Hello", "Hello"+strings.Repeat(" ", mostCompared), 1)
	if status, answer := s.ask(t, "/anthropic/v1/messages", adas, large); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	await(t, func() string {
		page = v.get(t, "/console/interceptions/"+interceptionOf(t, v))
		return unless(strings.Contains(page, "aibridged verify"), "the large interception's page says how to verify it")
	})
	if !strings.Contains(page, "too many bytes") || len(page) > 1<<20 {
		t.Errorf("the large interception has a page of %d bytes", len(page))
	}

	// What runs is listed, and is ended after its answer has begun.
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		slow := `{"model":"slow-model","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"[[silence: 60s after=1]]"}]}`
		ctx, cancel := context.WithTimeout(context.Background(), demoPatience)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/anthropic/v1/messages", strings.NewReader(slow)) // A method and a URL that are right.
		r.Header.Set("X-Api-Key", adas)
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		close(began)
		if err != nil {
			ended <- err
			return
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err == nil || response.StatusCode != http.StatusOK {
			ended <- fmt.Errorf("status %d, its end is %v, want that it breaks off", response.StatusCode, err)
			return
		}
		ended <- ctx.Err() // It broke off, and not since the client gave up.
	}()
	<-began
	form := regexp.MustCompile(`name="secret" value="([^"]+)"><input type="hidden" name="id" value="([0-9]+)"`)
	var found []string
	await(t, func() string {
		live := v.get(t, "/console/live")
		found = form.FindStringSubmatch(live)
		return unless(strings.Contains(live, "slow-model") && found != nil, "what runs is listed")
	})
	if status, page := v.ask(t, http.MethodPost, "/console/live/end", url.Values{"secret": {found[1]}, "id": {found[2]}}); status != http.StatusOK {
		t.Errorf("%d\n%s", status, page)
	}
	if err := <-ended; err != nil {
		t.Errorf("the request: %v", err)
	}
}

// interceptionOf returns the id of the interception that the page lists, once it is derived.
func interceptionOf(t *testing.T, v visitor) string {
	t.Helper()
	link := regexp.MustCompile(`/console/interceptions/([0-9a-f-]{36})"`)
	var match []string
	await(t, func() string {
		match = link.FindStringSubmatch(v.get(t, "/console/interceptions"))
		return unless(match != nil, "an interception is listed")
	})
	return match[1]
}

// TestNoConsole turns the page off, by the flag and in the configuration. The flag counts more.
func TestNoConsole(t *testing.T) {
	for name, test := range map[string]struct {
		more   string
		args   []string
		served bool
	}{
		"flag":             {"", []string{"--no-console"}, false},
		"file":             {"console: false\n", nil, false},
		"file, on":         {"console: true\n", nil, true},
		"flag beside file": {"console: false\n", []string{"--no-console=false"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveWith(t, test.more, test.args...)
			status, page := newVisitor(t, s.base).ask(t, http.MethodGet, "/console/", nil)
			if isServed := status == http.StatusOK && strings.Contains(page, "<h1>Sign in"); isServed != test.served {
				t.Errorf("%d\n%s", status, page)
			}
		})
	}
}
