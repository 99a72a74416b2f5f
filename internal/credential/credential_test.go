package credential

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestHint is behaviour 3.1.
func TestHint(t *testing.T) {
	for key, want := range map[string]string{
		"":                      "",
		"abcd":                  "...",
		"abcde":                 "a...e",
		"abcdefghi":             "a...i",
		"abcdefghij":            "ab...ij",
		"abcdefghijklmnopqrs":   "ab...rs",
		"abcdefghijklmnopqrst":  "abcd...qrst",
		"äbcdefghijklmnopqrstü": "äbcd...rstü",
	} {
		if got := Hint(key); got != want {
			t.Errorf("hint of %q: %q, want %q", key, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	if got := Redact("Incorrect API key provided: sk-0123456789abcdefghij.", "sk-0123456789abcdefghij"); got != "Incorrect API key provided: sk-0...ghij." {
		t.Error(got)
	}
	if got := Redact("nothing", ""); got != "nothing" {
		t.Error(got)
	}
}

// TestFault041Twins is about headers that some servers read under another name, and those that end at the gateway.
func TestFault041Twins(t *testing.T) {
	for name, want := range map[string]bool{
		"X_api_key": true, "Authorization_": true, "X_Api-Key": true, "Proxy_authorization": true, "Coder_session_token": true,
		"X-Coder-Ai-Governance-Token": true, "X_coder_ai_governance_trust": true, "X-Ai-Bridge-Actor-Id": true,
		"Session_id": false, "X-Api-Key": true, "Authorization": true, "Content-Type": false, "Cookie": true,
		"X_goog_api_key": true, "X_forwarded_for": true, "Cf_ray": true, "Connection_": false,
	} {
		if got := fateOf(name) == stays || fateOf(name) == own; got != want {
			t.Errorf("%q stays: %t", name, got)
		}
	}
}

// TestForward is behaviour 2.1: which headers go upstream, with the gateway's key and with the caller's own.
func TestForward(t *testing.T) {
	header := http.Header{
		"Accept": {"*/*"}, "Anthropic-Beta": {"a", "b"}, "User-Agent": {"x/1"}, "X-Request-Id": {"1"},
		"Connection": {"keep-alive, X-Named", "x-other"}, "X-Named": {"1"}, "X-Other": {"1"}, "Keep-Alive": {"1"},
		"Te": {"gzip, trailers"}, "Trailer": {"X-T"}, "Upgrade": {"h2c"}, "Proxy-Authorization": {"x"}, "Expect": {"100-continue"},
		"Authorization": {"Bearer own"}, "X-Api-Key": {"own-2"}, "Api-Key": {"own-3"}, "X-Goog-Api-Key": {"own-4"},
		"Openai-Organization": {"org"}, "Openai-Project": {"p"}, "Cookie": {"a=b"},
		"X-Forwarded-Proto": {"https"}, "Cf-Connecting-Ip": {"1.2.3.4"}, "Via": {"edge"}, "Cdn-Loop": {"x"}, "Fly-Client-Ip": {"x"},
		"X-Amzn-Trace-Id": {"x"}, "X-Envoy-External-Address": {"x"}, "True-Client-Ip": {"x"}, "X-Real-Ip": {"x"},
	}
	before := fmt.Sprint(header)
	for own, want := range map[string]string{
		"":              "Accept Anthropic-Beta User-Agent X-Request-Id",
		"Authorization": "Accept Anthropic-Beta Authorization Openai-Organization Openai-Project User-Agent X-Request-Id",
		"X-Api-Key":     "Accept Anthropic-Beta Openai-Organization Openai-Project User-Agent X-Api-Key X-Request-Id",
	} {
		out := Forward(header, own)
		names := strings.Split(want, " ")
		if len(out) != len(names) {
			t.Errorf("own in %q: %v", own, out)
		}
		for _, name := range names {
			if len(out[name]) == 0 {
				t.Errorf("own in %q: %s is missing", own, name)
			}
		}
		if len(out["Anthropic-Beta"]) != 2 {
			t.Errorf("own in %q: %v", own, out)
		}
	}
	if after := fmt.Sprint(header); after != before {
		t.Errorf("the caller's header was changed to %s", after)
	}
}

// TestOwnOf is about a caller who brings two credentials: one goes, and it is the one that the provider prefers.
func TestOwnOf(t *testing.T) {
	both := http.Header{"Authorization": {"Bearer  a "}, "X-Api-Key": {" b "}}
	for _, test := range []struct {
		header    http.Header
		preferred string
		want      Own
	}{
		{both, Authorization, Own{Authorization, "a"}},
		{both, APIKey, Own{APIKey, "b"}},
		{http.Header{"Authorization": {"Bearer a"}}, APIKey, Own{Authorization, "a"}},
		{http.Header{"X-Api-Key": {"b"}, "Authorization": {"Bearer"}}, Authorization, Own{APIKey, "b"}},
		{http.Header{"X-Api-Key": {" "}}, APIKey, Own{}},
		{http.Header{"X-Goog-Api-Key": {"g"}}, Authorization, Own{"X-Goog-Api-Key", "g"}},
		{http.Header{}, Authorization, Own{}},
		{http.Header{"Authorization": {"Bearer a"}, "Connection": {"close, authorization"}}, Authorization, Own{}},
		{http.Header{"Authorization": {"Bearer a"}, "X-Api-Key": {"b"}, "Connection": {"x", "Authorization"}}, Authorization, Own{APIKey, "b"}},
	} {
		if got := OwnOf(test.header, test.preferred); got != test.want {
			t.Errorf("%v with %s: %+v, want %+v", test.header, test.preferred, got, test.want)
		}
	}
}

// TestFault038QueryCredentials is about parameters that APIs read keys from, and what goes on as it is.
func TestFault038QueryCredentials(t *testing.T) {
	for query, want := range map[string]string{
		"":                                  "",
		"beta=true":                         "beta=true",
		"key=a&beta=true":                   "beta=true",
		"b=%41&api_key=x&c":                 "b=%41&c",
		"API-Key=x&x-api-key=y&apikey=z":    "",
		"access_token=x&Authorization=y&a=": "a=",
		"api%5fkey=x&monkey=y":              "monkey=y",
		"%6bey=x&a=1":                       "a=1",
		"a=1;b=2&c=3":                       "a=1;b=2&c=3",
		"a=1;key=2;b=3&c=3":                 "a=1;b=3&c=3",
		"key=2;b=3;tok-en":                  "b=3",
		"a;x=tok-en&c;":                     "a&c;",
		"bad=%zz&c=3":                       "bad=%zz&c=3",
		"%zz%&k%65y=1&a=%&%6":               "%zz%&a=%&%6",
		"b%zz=%74ok-en&a=+%20":              "a=+%20",
		"&&a=1&;&":                          "&&a=1&;&",
		";key=1":                            "",
		"a=1&key=1&":                        "a=1&",
		"x=tok-en&y=%74ok-en&z=1":           "z=1",
	} {
		if got := Query(query, Tokens{Presented: "tok-en"}); got != want {
			t.Errorf("Query(%q) = %q, want %q", query, got, want)
		}
	}
}

// FuzzPresent checks that the token of a request is in no header that is passed on.
func FuzzPresent(f *testing.F) {
	f.Add("tok", "Bearer own", "own", "a tok b")
	f.Add("", "bEaReR  tok ", "", "x")
	f.Add("", "Basic x", "tok", "tok")
	f.Fuzz(func(t *testing.T, governance, authorization, key, note string) {
		header := http.Header{"X-Note": {note}}
		for name, value := range map[string]string{GovernanceHeader: governance, Authorization: authorization, APIKey: key} {
			if value != "" {
				header.Set(name, value)
			}
		}
		presented, err := Present(header)
		if err != nil {
			if !errors.Is(err, ErrNone) && !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: %v", header, err)
			}
			return
		}
		if presented.Token != Token(header) {
			t.Errorf("Token says %q, Present %q", Token(header), presented.Token)
		}
		for name, values := range WithoutToken(header, presented, Tokens{Presented: presented.Token}) {
			if strings.Contains(values[0], presented.Token) || name == GovernanceHeader {
				t.Errorf("%s goes on as %q with token %q", name, values, presented.Token)
			}
			if !presented.BYOK && (name == Authorization || name == APIKey) {
				t.Errorf("%s goes on beside the gateway's key", name)
			}
		}
	})
}
