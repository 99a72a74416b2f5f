package mcp

import (
	"errors"
	"net/url"
	"testing"
)

func TestSecretsAreCleaned(t *testing.T) {
	server, err := url.Parse("https://example.com/?key=a%2Fb%26secret&v=2")
	if err != nil {
		t.Fatal(err)
	}
	known := secretsOf(map[string]string{"Authorization": "Bearer abc.def.ghi", "X-Key": "abc.def", "X-Short": "on"}, server)
	for text, want := range map[string]string{
		"nothing of it":                 "nothing of it",
		"Bearer abc.def.ghi":            "[redacted]",
		"token abc.def.ghi.":            "token [redacted].",
		"abc.def, abc.def.ghi":          "[redacted], [redacted]",
		"a/b&secret a%2Fb%26secret on2": "[redacted] [redacted] on2",
		"Bearer of bad news":            "Bearer of bad news",
	} {
		if got := known.clean(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestFailureDropsURLs(t *testing.T) {
	err := secrets(nil).failure("call", &url.Error{Op: "Post", URL: "https://example.com/?key=x", Err: errRedirect})
	if err.Error() != "call: redirects are not followed" || !errors.Is(err, errRedirect) {
		t.Errorf("error %v", err)
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		t.Error("the URL is still there")
	}
}
