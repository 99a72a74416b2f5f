package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/fakellm"
)

// upstreamOf starts an upstream, and returns its address.
func upstreamOf(t *testing.T, handler http.Handler) string {
	t.Helper()
	up := httptest.NewServer(handler)
	t.Cleanup(up.Close)
	return up.URL + "/v1"
}

// TestAnUnchangedProviderStays checks that a change of one provider does not take down another one whose key is away for a
// moment: it is served as it was, its status says why it could not be made anew, and it is well again with the next change.
// One that has changed itself is not served.
func TestAnUnchangedProviderStays(t *testing.T) {
	s := serveHere(t)
	token := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "ada"))
	up := upstreamOf(t, fakellm.New(fakellm.Options{}))
	file := filepath.Join(t.TempDir(), "key")
	write := func() {
		if err := os.WriteFile(file, []byte("sk-key-in-a-file-0123456789\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(name string) func() string {
		return func() string {
			status, answer := s.ask(t, "/"+name+"/v1/responses", token, `{"model":"m","input":"Hi"}`)
			return http.StatusText(status) + " " + answer
		}
	}
	list := func() string { return s.must(t, "", "provider", "list") }
	write()
	s.must(t, "", "provider", "add", "filed", "--type", "openai", "--base-url", up, "--key", "file:"+file)
	within(t, `^OK `, ask("filed"))
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.must(t, "", "provider", "add", "other", "--type", "openai", "--base-url", up, "--disabled")
	within(t, `(?m)^filed +openai +command +error: .*no such file.*it is served as it was before`, list)
	if got := ask("filed")(); !strings.HasPrefix(got, "OK ") {
		t.Errorf("the provider that has not changed: %s", got)
	}
	if _, metrics := send(t, "GET", s.admin+"/metrics", "", nil); !strings.Contains(metrics, `provider_name="filed",provider_type="openai",status="error"} 1`) {
		t.Error("provider_info does not say so")
	}
	write()
	s.must(t, "", "provider", "remove", "other")
	within(t, `(?m)^filed +openai +command +ready`, list)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.must(t, "", "provider", "set", "filed", "--header", "X-Team: a")
	within(t, `^Service Unavailable .*provider_disabled`, ask("filed"))
}

// TestUnservedProviders checks that what cannot be made refuses requests in the shape of its type's API.
func TestUnservedProviders(t *testing.T) {
	t.Parallel()
	s := serveHere(t)
	token := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "ada"))
	for kind, c := range map[string]struct{ path, settings, want string }{
		"anthropic": {"/v1/messages", "", `{"type":"error","error":{"type":"overloaded_error"`},
		"copilot":   {"/v1/messages", "", `{"type":"error","error":{"type":"overloaded_error"`},
		"bedrock":   {"/model/m/invoke", "bedrock: {region: us-east-1}", `{"__type":"ServiceUnavailableException"`},
		"openai":    {"/v1/responses", "", `{"error":{"message":"provider_disabled`},
	} {
		args := []string{"provider", "add", "broken-" + kind, "--type", kind, "--key", "${NO_SUCH_VARIABLE}"}
		if c.settings != "" {
			args = append(args, "--settings", fileWith(t, c.settings))
		}
		s.must(t, "", args...)
		within(t, `^5 `+strings.NewReplacer("{", `\{`).Replace(c.want), func() string {
			status, answer := s.ask(t, "/broken-"+kind+c.path, token, `{"model":"m","messages":[]}`)
			return string(rune('0'+status/100)) + " " + answer
		})
	}
}

// TestTheLastProviderIsRemoved checks that a gateway whose last provider a command has removed knows none, in the shape of the
// path's API.
func TestTheLastProviderIsRemoved(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "")
	t.Setenv("OPENAI_API_KEY", "")
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{data: t.TempDir()}
	gateway := lineOf(t, ctx, `listens on (http://\S+)`, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", s.data)
	s.base = gateway.groups[1]
	defer func() {
		cancel()
		if err := <-gateway.ended; err != nil {
			t.Error(err)
		}
	}()
	token := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "ada"))
	s.must(t, "", "provider", "add", "mine", "--type", "anthropic", "--disabled")
	ask := func() string {
		status, answer := s.ask(t, "/mine/v1/messages", token, `{"model":"m","messages":[]}`)
		return string(rune('0'+status/100)) + " " + answer
	}
	within(t, `^5 .*overloaded_error`, ask)
	s.must(t, "", "provider", "remove", "mine")
	within(t, `^4 .*not_found_error.*route not supported`, ask)
	s.must(t, "", "provider", "add", "mine", "--type", "anthropic", "--disabled")
	within(t, `^5 .*overloaded_error`, ask)
}

// TestAHeaderByStandardInput checks that --header takes a secret by standard input as --key does: the upstream gets it, the
// database keeps it, encrypted, and nothing shows it.
func TestAHeaderByStandardInput(t *testing.T) {
	s := serveHere(t)
	token := strings.TrimSpace(s.must(t, "", "token", "create", "--user", "ada"))
	got := make(chan string, 100)
	up := upstreamOf(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("X-Proxy-Token") }))
	const secret = "a-secret-of-the-proxy-0123456789"
	s.must(t, secret+"\n", "provider", "add", "mine", "--type", "openai", "--base-url", up, "--key", "${PATH}", "--header", "X-Proxy-Token: -", "--header", "X-Team: a")
	sent := func() string {
		s.ask(t, "/mine/v1/responses", token, `{"model":"m","input":"Hi"}`)
		select {
		case value := <-got:
			return value
		default:
			return ""
		}
	}
	within(t, `^`+secret+`$`, sent)
	s.must(t, "", "provider", "set", "mine", "--actor-headers")
	s.must(t, "", "provider", "disable", "mine")
	s.must(t, "", "provider", "enable", "mine")
	within(t, `^`+secret+`$`, sent)
	if shown := s.must(t, "", "provider", "list", "--json"); strings.Contains(shown, secret) {
		t.Error("it is shown")
	}
	s.must(t, "", "secrets", "rotate")
	within(t, `^`+secret+`$`, sent)
	for _, args := range [][]string{{"--key", "-", "--header", "X-A: -"}, {"--header", "X-B: -", "--header", "X-A: -"}, {"--key", "team=-", "--header", "X-A: -"}} {
		if _, err := s.command(t, secret, append([]string{"provider", "set", "mine"}, args...)...); err == nil || !strings.Contains(err.Error(), "standard input can give one key or one header") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
