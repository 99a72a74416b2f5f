package aibridgedserver_test

import (
	"slices"
	"testing"

	"github.com/coder/aibridged/aibridgedserver"
)

func TestSetProviders(t *testing.T) {
	control := newControlPlane(t)
	for _, providers := range [][]aibridgedserver.Provider{
		{},
		{{Name: "a", Type: "anthropic"}, {Name: "b", Type: "openai", BaseURL: "http://127.0.0.1/v1", Disabled: true}},
		{{Name: "b", Type: "openai"}},
	} {
		if err := control.SetProviders(t.Context(), providers); err != nil {
			t.Fatal(err)
		}
		got, err := control.Providers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, providers) {
			t.Errorf("set %v, got %v", providers, got)
		}
	}
	if err := control.SetProviders(t.Context(), []aibridgedserver.Provider{{Name: "c"}, {Name: "c"}}); err == nil {
		t.Error("two providers of one name were taken")
	}
	if got, err := control.Providers(t.Context()); err != nil || len(got) != 1 || got[0].Name != "b" {
		t.Errorf("after a failure: %v, %v", got, err)
	}
}
