package wire_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/internal/wire"
)

func TestCallKey(t *testing.T) {
	hi, hello := func() string { return "hi" }, func() string { return "hello" }
	here, later, elsewhere := wire.Place{Opening: hi, Index: 1}, wire.Place{Opening: hi, Index: 3}, wire.Place{Opening: hello, Index: 1}
	for id, isOwn := range map[string]bool{
		"toolu_01A09q90qw90lq917835lq9": true, "call_Zx0123456789abcdefABCDEF": true, "chatcmpl-tool-0123456789abcdef0123456789abcdef": true,
		"3f2c1d88-9f0e-4b57-a1a4-51e7c2b3a0d1": true, "call_0": false, "0": false, "": false, "functions.edit:0": false,
		"functions.a_tool_with_a_long_name_indeed:12": false,
		"D681PevKs": true, "call_y4jx": true, "call_k3x9w2ab": true, "aBcDeFgHi": true, "4f9Kx2Qw1": true, "call_k3x9w2a7": true,
		"r1c2": false, "turn1_call2": false, "round1call2": false, "tool12": false, "fnEditFile0": false, "call_12345678": false, "1a": false,
	} {
		name := "edit"
		if len(id) > 40 {
			name = "a_tool_with_a_long_name_indeed"
		}
		key := wire.CallKey("chat", id, name, here)
		if key != wire.CallKey("chat", id, name, here) || key == wire.CallKey("messages", id, name, here) {
			t.Errorf("%s: key %s", id, key)
		}
		if strings.HasSuffix(key, wire.PlaceMark) == isOwn {
			t.Errorf("%s: key %s", id, key)
		}
		for _, place := range []wire.Place{later, elsewhere} {
			if got := wire.CallKey("chat", id, name, place) == key; got != isOwn {
				t.Errorf("%s: the same key at another place: %t", id, got)
			}
		}
	}
}
