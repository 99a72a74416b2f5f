package aibridge

import (
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
		if got := (credential{key: key}).hint(); got != want {
			t.Errorf("hint of %q: %q, want %q", key, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	c := credential{key: "sk-0123456789abcdefghij"}
	if got := c.redact("Incorrect API key provided: sk-0123456789abcdefghij."); got != "Incorrect API key provided: sk-0...ghij." {
		t.Error(got)
	}
	if got := (credential{}).redact("nothing"); got != "nothing" {
		t.Error(got)
	}
}

// TestAnthropicKey is about what tells a key from an OAuth token: its prefix.
func TestAnthropicKey(t *testing.T) {
	for key, want := range map[string]string{"sk-ant-api03-x": "X-Api-Key", "sk-ant-oat01-x": "Authorization"} {
		header := http.Header{}
		setAnthropicKey(header, key)
		if len(header) != 1 || !strings.HasSuffix(header.Get(want), key) {
			t.Errorf("%s: %v", key, header)
		}
	}
}

// TestFault041Twins is about headers that some servers read under another name, and those that end at the gateway.
func TestFault041Twins(t *testing.T) {
	for name, want := range map[string]bool{
		"X_api_key": true, "Authorization_": false, "X_Api-Key": true, "Proxy_authorization": true, "Coder_session_token": true,
		"X-Coder-Ai-Governance-Token": true, "X_coder_ai_governance_trust": true, "X-Ai-Bridge-Actor-Id": true,
		"Session_id": false, "X-Api-Key": false, "Authorization": false, "Content-Type": false, "Cookie": true,
	} {
		if stays(name) != want {
			t.Errorf("stays(%q) = %t", name, !want)
		}
	}
}

// TestFault038QueryCredentials is about parameters that APIs read keys from.
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
	} {
		if got := withoutCredentials(query); got != want {
			t.Errorf("withoutCredentials(%q) = %q, want %q", query, got, want)
		}
	}
}
