package reports

import (
	"testing"

	"github.com/coder/aibridged/aibridgedserver/prices"
)

// A call that an answer shows twice is one.
func TestHostedOnce(t *testing.T) {
	t.Parallel()
	i := &interception{calls: []call{
		{id: "srvtoolu_1", message: "m", hosted: prices.WebSearch}, {id: "srvtoolu_1", message: "m", hosted: prices.WebSearch},
		{id: "srvtoolu_1", message: "n", hosted: prices.WebSearch}, {message: "m", hosted: prices.WebSearch}, {message: "m", hosted: prices.WebSearch},
		{id: "toolu_1", message: "m"},
	}}
	for message, want := range map[string]int64{"m": 3, "n": 1, "o": 0} {
		if got := i.hosted(func(of string) bool { return of == message })[prices.WebSearch]; got != want {
			t.Errorf("%s: %d, want %d", message, got, want)
		}
	}
}
