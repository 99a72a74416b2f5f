package aibridge

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/chat"
	"github.com/coder/aibridged/internal/wire/messages"
)

// TestOwnTools is about the names of the client's tools that a tool of the gateway could have.
func TestOwnTools(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:           "",
		`{"tools":[]}`: "",
		`{"tools":[{"name":"Bash","description":"é"}]}`:                                                "",
		`{"tools":[{"name":"bmcp_a"},{"name":"Bash"},{"name":"bmcp_b"}]}`:                              "bmcp_a bmcp_b",
		`{"tools":[{"name":"Bash","description":"like bmcp_a"}]}`:                                      "",
		`{"tools":[{"name":"\u0062mcp_a"}]}`:                                                           "bmcp_a",
		`{"tools":[{"name":"bmcp\u005Fa"}]}`:                                                           "bmcp_a",
		`{"tools":[{"name":"b\u006dcp_a"},{"name":"A","description":"\u00e9"}],"messages":["bmcp_b"]}`: "bmcp_a",
	} {
		object, err := jsonedit.Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(ownTools(messages.Format().Tooling, object))), " "); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// TestToolSetOffer checks that a request gets the tools of a set in their order, without those that the client has, that were
// refused, or that are too many.
func TestToolSetOffer(t *testing.T) {
	set := newToolSet([]mcp.Tool{{ID: "bmcp_a"}, {ID: "bmcp_b"}, {ID: "bmcp_c"}})
	of := writtenFor{"chat", "p"}
	for _, test := range []struct {
		most   int
		own    map[string]bool
		refuse string // Beforehand.
		want   string
		capped bool
	}{
		{3, nil, "", "bmcp_a bmcp_b bmcp_c", false},
		{128, nil, "", "bmcp_a bmcp_b bmcp_c", false},
		{2, nil, "", "bmcp_a bmcp_b", true},
		{0, nil, "", "", true},
		{-1, nil, "", "", true},
		{2, map[string]bool{"bmcp_b": true}, "", "bmcp_a bmcp_c", false},
		{1, map[string]bool{"bmcp_b": true}, "", "bmcp_a", true},
		{3, map[string]bool{"bmcp_x": true}, "", "bmcp_a bmcp_b bmcp_c", false},
		{2, nil, "bmcp_a", "bmcp_b bmcp_c", false},
		{1, map[string]bool{"bmcp_c": true}, "", "bmcp_b", false},
		{3, nil, "bmcp_b", "bmcp_c", false},
	} {
		if test.refuse != "" {
			set.refuse(of, chat.Format().Tooling, test.refuse)
		}
		got, capped := set.offer(of, chat.Format().Tooling, test.most, test.own)
		if names := strings.Join(got.names, " "); names != test.want || capped != test.capped {
			t.Errorf("%+v: %q, capped: %t", test, names, capped)
		}
		var elements []string
		for _, name := range got.names {
			elements = append(elements, string(chat.Format().Tooling.Write(wire.Tool{Name: name})))
		}
		if want := strings.Join(elements, ","); string(got.elements) != want {
			t.Errorf("%+v: %s, want %s", test, got.elements, want)
		}
	}
}
