package observe

import (
	"net/http"
	"testing"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/upstream"
)

// A request needs [Send] only where a transport keeps exchanges.
func TestWatches(t *testing.T) {
	plain := respond("ok")
	keeper := keep(t, plain, t.TempDir(), &logSink{})
	dump := func(next http.RoundTripper) http.RoundTripper {
		dumper := Dump(next, t.TempDir(), MostHeld, slog.Make())
		t.Cleanup(dumper.Close)
		return dumper
	}
	for name, test := range map[string]struct {
		transport http.RoundTripper
		want      bool
	}{
		"none":                        {nil, false},
		"a transport":                 {plain, false},
		"a keeper":                    {keeper, true},
		"a dumper":                    {dump(plain), false},
		"a dumper before a keeper":    {dump(keeper), true},
		"a keeper that another hides": {upstream.Guard(keeper), false},
	} {
		if got := Watches(test.transport); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

// TestSend sends through a chain like a bridge's. While the answer is under way, its context no longer holds the
// client's request, and a later request with that context belongs to no interception.
func TestSend(t *testing.T) {
	dir := t.TempDir()
	keeper := keep(t, respond("ok"), dir, &logSink{})
	var seen *http.Request
	next := upstream.Guard(roundTripperFunc(func(r *http.Request) (*http.Response, error) {
		seen = r
		return keeper.RoundTrip(r)
	}))
	r, id := intercepted(t, "asked")
	of, _ := told(r)
	resp, err := Send(next, sent(t), of)
	if err != nil {
		t.Fatal(err)
	}
	held := seen.Context().Value(interceptionKey{}).(*Interception)
	if held.Header != nil || held.Body != nil {
		t.Errorf("the context of an answer holds %+v", held)
	}
	if _, err := readAll(resp); err != nil {
		t.Error(err)
	}
	answer(t, keeper, sent(t).WithContext(seen.Context()))
	keeper.Close()
	if got := checkKept(t, dir, id); string(got.Request) != "asked" || got.Head.Format != of.Format {
		t.Errorf("kept the request %q, head %+v", got.Request, got.Head)
	}
	if files := keptFiles(t, dir); len(files) != 1 {
		t.Errorf("kept %v", files)
	}
}
