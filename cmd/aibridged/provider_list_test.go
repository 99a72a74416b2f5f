package main

import (
	"strings"
	"testing"
	"time"
)

// TestForWhatAKeyRests checks that the list says for which requests a key rests, also if these name no model.
func TestForWhatAKeyRests(t *testing.T) {
	until := time.Now().Add(time.Minute)
	for want, key := range map[string]liveKey{
		"rests until ":                     {},
		" for m, n":                        {Models: []string{"m", "n"}},
		" for requests without a model":    {Unnamed: true},
		" for m, requests without a model": {Models: []string{"m"}, Unnamed: true},
	} {
		key.Hint, key.State, key.Since, key.Until, key.Why = "sk-a...wxyz", "limited", &until, &until, "it has reached a limit"
		var out strings.Builder
		if err := writeProviders(&out, []providerReport{{Name: "p", Live: &liveProvider{Keys: []liveKey{key}}}}, nil); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if last := strings.TrimSpace(lines[len(lines)-1]); !strings.Contains(last, want) || strings.HasSuffix(last, " for") || strings.HasSuffix(last, ", ") {
			t.Errorf("%q has no %q", last, want)
		}
	}
}
