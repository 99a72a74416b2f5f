package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// send sends a request to the program and returns the answer and its body. Host is the Host of the request; empty: the
// URL's.
func send(t *testing.T, method, url, host string, header http.Header) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if request.Host = host; header != nil {
		request.Header = header
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// TestAdminListener checks which paths are where: clients of the API see neither metrics nor profiles.
func TestAdminListener(t *testing.T) {
	s := serveHere(t)
	for path, want := range map[string]string{
		"/metrics": "aibridged_connections_max", "/debug/pprof/": "goroutine", "/debug/pprof/heap?debug=1": "heap profile",
		"/debug/pprof/cmdline": "", "/debug/pprof/goroutine?debug=1": "goroutine profile", "/healthz": "ok", "/readyz": "ready",
	} {
		if response, body := send(t, http.MethodGet, s.admin+path, "", nil); response.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s for operators: %d %.200s", path, response.StatusCode, body)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		if response, body := send(t, http.MethodGet, s.base+path, "", nil); response.StatusCode < 400 {
			t.Errorf("%s for clients: %d %.200s", path, response.StatusCode, body)
		}
	}
	for _, path := range []string{"/anthropic/v1/messages", "/", "/metrics/x"} {
		if response, body := send(t, http.MethodPost, s.admin+path, "", nil); response.StatusCode != 404 {
			t.Errorf("%s for operators: %d %.200s", path, response.StatusCode, body)
		}
	}
}

// TestFault037AdminNames is fault 37 for operators: the listener answers to its own names alone, and to no page of
// another site, so that no web page can read it through a browser (DNS rebinding).
func TestFault037AdminNames(t *testing.T) {
	s := serveHere(t, "--admin-hosts", "metrics.internal,gateway_1,2001:DB8::7,192.0.2.9")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.admin, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{
		"": 200, "localhost": 200, "localhost.:" + port: 200, "LOCALHOST:9": 200, "127.0.0.1": 200, "127.8.8.8:" + port: 200, "[::1]:" + port: 200,
		"metrics.internal": 200, "Metrics.Internal:" + port: 200, "gateway_1": 200, "[2001:db8::7]:" + port: 200, "[2001:db8:0::7]": 200, "192.0.2.9": 200, "[::ffff:127.0.0.1]": 200,
		"rebound.example": 403, "rebound.example:" + port: 403, "127.0.0.1.rebound.example": 403, "localhost.rebound.example": 403, "0.0.0.0": 403, "[::]": 403,
		"192.0.2.1": 403, "10.0.0.1:" + port: 403, "internal": 403, "x.metrics.internal": 403, "[2001:db8::1]": 403,
		"a?b": 400, "a#b": 400, "127.0.0.1:port": 400, "user@localhost": 400,
	} {
		for _, path := range []string{"/metrics", "/debug/pprof/", "/readyz"} {
			response, body := send(t, http.MethodGet, s.admin+path, host, nil)
			if response.StatusCode != want {
				t.Errorf("%s of %q: %d %.100s, want %d", path, host, response.StatusCode, body, want)
			}
			if want == 403 && !strings.Contains(body, "--admin-hosts") {
				t.Errorf("%q is not told what to do: %s", host, body)
			}
		}
	}
	for name, test := range map[string]struct {
		header http.Header
		want   int
	}{
		"another site":               {http.Header{"Origin": {"https://elsewhere.example"}}, 403},
		"another port":               {http.Header{"Origin": {"http://127.0.0.1:1"}}, 403},
		"no origin that is one":      {http.Header{"Origin": {"null"}}, 403},
		"two origins":                {http.Header{"Origin": {s.admin, "https://elsewhere.example"}}, 403},
		"an image on another site":   {http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}}, 403},
		"a page on the same machine": {http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		"its own page":               {http.Header{"Origin": {s.admin}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		"typed by a person":          {http.Header{"Sec-Fetch-Site": {"none"}}, 200},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			if response, body := send(t, method, s.admin+"/debug/pprof/cmdline", "", test.header); response.StatusCode != test.want {
				t.Errorf("%s: %s: %d %.100s", name, method, response.StatusCode, body)
			}
		}
	}
}

// TestAdminAddressOfItsOwn checks that a listener on all addresses answers to the one at which a connection arrived.
func TestAdminAddressOfItsOwn(t *testing.T) {
	names, err := adminNames(":4003", nil)
	if err != nil {
		t.Fatal(err)
	}
	arrived := context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4003})
	handler := newAdmin(names, http.NotFoundHandler(), http.NotFoundHandler(), http.NotFoundHandler())
	for host, want := range map[string]bool{"192.0.2.7": true, "192.0.2.7:80": true, "192.0.2.8": false, "": true, "192.0.2.7.example": false} {
		r, err := http.NewRequestWithContext(arrived, http.MethodGet, "/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		if got := handler.isOwn(r); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

// TestAdminOff checks that a gateway without a listener for operators serves, and names none.
func TestAdminOff(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	gateway := lineOf(t, ctx, `listens on (http://\S+)\n  data directory`, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", t.TempDir())
	if response, _ := send(t, http.MethodGet, gateway.found+"/healthz", "", nil); response.StatusCode != 200 {
		t.Errorf("healthz: %d", response.StatusCode)
	}
	cancel()
	if err := <-gateway.ended; err != nil {
		t.Error(err)
	}
}

// TestListenersFromFile has a configuration file say what the flags do, and a flag that goes before it.
func TestListenersFromFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "listen: 127.0.0.1:0\nadmin_listen: 'nowhere'\nadmin_hosts: [metrics.internal]\nmax_connections: 7\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t.Context(), "serve", "--config", file, "--data-dir", t.TempDir()); err == nil || !strings.Contains(err.Error(), `"nowhere"`) {
		t.Errorf("the address of the file was not used: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	gateway := lineOf(t, ctx, `for operators +(http://\S+)`, "serve", "--config", file, "--admin-listen", "127.0.0.1:0", "--data-dir", t.TempDir())
	response, body := send(t, http.MethodGet, gateway.found+"/metrics", "metrics.internal:4003", nil)
	if response.StatusCode != 200 || !strings.Contains(body, "\naibridged_connections_max 7\n") {
		t.Errorf("%d %.300s", response.StatusCode, body)
	}
	cancel()
	if err := <-gateway.ended; err != nil {
		t.Error(err)
	}
}
