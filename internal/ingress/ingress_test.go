package ingress_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/ingress"
)

func TestHostname(t *testing.T) {
	for host, want := range map[string]string{
		"gateway":               "gateway",
		"gateway:4001":          "gateway",
		"Gateway.Example.com.":  "Gateway.Example.com.",
		"my_gateway:80":         "my_gateway",
		"xn--bcher-kva.example": "xn--bcher-kva.example",
		"127.0.0.1:65535":       "127.0.0.1",
		"[::1]":                 "::1",
		"[2001:db8::1]:4001":    "2001:db8::1",
		"1.2.3.a4":              "1.2.3.a4",
	} {
		if got, err := ingress.Hostname(host); got != want || err != nil {
			t.Errorf("%q: %q, %v", host, got, err)
		}
	}
	for _, host := range []string{
		"", ":", ":80", ".", "..", "a..b", ".a", "a?b", "a#b", "a/b", `a\b`, "a@b", "user:pw@b", "a b", " a", "a\tb", "a,b", "a;b", "a%2fb", "a%20b",
		"bücher.example", "a\x00b", "a\x7fb", "<a>", `"a"`, "a|b", "a:b", "a:", "a:0", "a:-1", "a:+80", "a:8_0", "a:65536", "a:99999999999999999999", "a:80:80",
		"::1", "[::1", "::1]", "[::1]x", "[::1]80", "[::1]:", "[::1]:x", "[]", "[127.0.0.1]", "[gateway]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[v1.x]", "[[::1]]",
		"1", "256.1.1.1", "1.2.3", "1.2.3.4.5", "127.0.0.01", "example.123", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "aa", "*.example", "*",
	} {
		if got, err := ingress.Hostname(host); err == nil {
			t.Errorf("%q was taken for %q", host, got)
		}
	}
}

func TestJudgeHost(t *testing.T) {
	for name, test := range map[string]struct {
		major, minor int
		host         string
		header       []string
		ok           bool
	}{
		"a name":                {1, 1, "gateway", nil, true},
		"none":                  {1, 1, "", nil, false},
		"none, HTTP/1.0":        {1, 0, "", nil, true},
		"odd, HTTP/1.0":         {1, 0, "a?b", nil, false},
		"none, HTTP/2":          {2, 0, "", nil, false},
		"authority and host":    {2, 0, "gateway", []string{"Gateway"}, true},
		"authority and other":   {2, 0, "gateway", []string{"elsewhere"}, false},
		"authority and two":     {2, 0, "gateway", []string{"gateway", "gateway"}, false},
		"two, no authority":     {2, 0, "gateway", []string{"gateway", "elsewhere"}, false},
		"authority with a user": {2, 0, "u@gateway", nil, false},
	} {
		r := &http.Request{ProtoMajor: test.major, ProtoMinor: test.minor, Host: test.host, Header: http.Header{}}
		if test.header != nil {
			r.Header["Host"] = test.header
		}
		if err := ingress.JudgeHost(r); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEndConnection(t *testing.T) {
	for name, test := range map[string]struct {
		major, minor int
		coding       []string
		want         string
	}{
		"a length":           {1, 1, nil, ""},
		"chunks":             {1, 1, []string{"chunked"}, "close"},
		"HTTP/1.0":           {1, 0, nil, "close"},
		"HTTP/2":             {2, 0, nil, ""},
		"an unlikely HTTP/2": {2, 0, []string{"chunked"}, ""},
	} {
		w := httptest.NewRecorder()
		ingress.EndConnection(w, &http.Request{ProtoMajor: test.major, ProtoMinor: test.minor, TransferEncoding: test.coding})
		if got := w.Header().Get("Connection"); got != test.want {
			t.Errorf("%s: Connection %q, want %q", name, got, test.want)
		}
	}
}

// FuzzHostname checks that what is accepted means the same to net/url: a host, a port, and nothing else.
func FuzzHostname(f *testing.F) {
	for _, seed := range []string{"gateway:80", "[::1]:4001", "a?b", "u@a", "1.2.3.4", "a:", "[fe80::1%25a]", "a/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, err := ingress.Hostname(host)
		if err != nil {
			return
		}
		parsed, err := url.Parse("http://" + host + "/path")
		if err != nil {
			t.Fatalf("%q was accepted: %v", host, err)
		}
		if parsed.Hostname() != name || parsed.Path != "/path" || parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" || parsed.Host != host {
			t.Fatalf("%q was taken for %q; net/url takes it for %q", host, name, parsed.Hostname())
		}
	})
}
