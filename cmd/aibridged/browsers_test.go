package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const page = "https://app.example"

// preflight is what a browser sends before a page's request to another site.
func preflight(origin string) http.Header {
	return http.Header{
		"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization,content-type,x-stainless-os"},
	}
}

// TestBrowsers sends what browsers send for web pages, to a gateway whose configuration names no origin, and to one that
// names one.
func TestBrowsers(t *testing.T) {
	named := filepath.Join(t.TempDir(), "named.yaml")
	if err := os.WriteFile(named, []byte("cors_origins: ["+page+", 'http://localhost:3000']"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, gateway := range map[string]*served{"none": serveHere(t), "named": serveHere(t, "--config", named)} {
		for _, path := range []string{"/anthropic/v1/messages", "/openai/v1/responses", "/openai/v1/models", "/healthz"} {
			for _, origin := range []string{page, "http://localhost:3000", "https://elsewhere.example", "http://app.example", page + ":8443", "https://x.app.example", "null", ""} {
				response, body := send(t, http.MethodOptions, gateway.base+path, "", preflight(origin))
				allowed := name == "named" && (origin == page || origin == "http://localhost:3000")
				header := response.Header
				switch {
				case allowed:
					if response.StatusCode != 204 || header.Get("Access-Control-Allow-Origin") != origin || !slices.Contains(header["Vary"], "Origin") ||
						header.Get("Access-Control-Allow-Headers") != "authorization,content-type,x-stainless-os" ||
						!strings.Contains(header.Get("Access-Control-Allow-Methods"), "POST") || header.Get("Access-Control-Allow-Private-Network") != "" {
						t.Errorf("%s: %s from %q: %d %v", name, path, origin, response.StatusCode, header)
					}
				case response.StatusCode != 403 || !strings.Contains(body, "cors_origins") || header.Get("Access-Control-Allow-Origin") != "":
					t.Errorf("%s: %s from %q: %d %s %v", name, path, origin, response.StatusCode, body, header)
				case strings.Contains(path, "messages") && !strings.HasPrefix(body, `{"type":"error"`):
					t.Errorf("%s: %s: not in the shape of the API: %s", name, path, body)
				}
			}
		}
		for _, test := range []struct {
			header http.Header
			status int
			origin string // The one that may read the answer.
		}{
			{http.Header{"Origin": {page}, "Sec-Fetch-Site": {"cross-site"}}, map[string]int{"none": 403, "named": 400}[name], map[string]string{"named": page}[name]},
			{http.Header{"Origin": {"https://elsewhere.example"}, "Sec-Fetch-Site": {"cross-site"}}, 403, ""},
			{http.Header{"Origin": {page, page}}, 403, ""},
			{http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, ""},
			{http.Header{"Origin": {gateway.base}, "Sec-Fetch-Site": {"same-origin"}}, 400, ""},
			{http.Header{}, 400, ""},
		} {
			response, body := send(t, http.MethodPost, gateway.base+"/anthropic/v1/messages", "", test.header)
			if response.StatusCode != test.status || response.Header.Get("Access-Control-Allow-Origin") != test.origin {
				t.Errorf("%s: %v: %d %s %v", name, test.header, response.StatusCode, body, response.Header)
			}
			if test.status == 403 && !strings.Contains(body, "cors_origins") {
				t.Errorf("%s: %v: not told what to do: %s", name, test.header, body)
			}
		}
	}
}

// TestPrivateNetwork checks that a page of a named origin may use a gateway on the user's own machine.
func TestPrivateNetwork(t *testing.T) {
	b, err := newBrowsers([]string{page})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, "/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = preflight(page)
	r.Header.Set("Access-Control-Request-Private-Network", "true")
	w := httptest.NewRecorder()
	b.handler(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Private-Network") != "true" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
