package aibridged_test

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged"
)

// A host wraps the registerer to put its own namespace before the names.
func ExampleNewMetrics() {
	registry := prometheus.NewRegistry()
	metrics := aibridged.NewMetrics(prometheus.WrapRegistererWithPrefix("coder_aibridged_", registry))
	aibridged.WriteProviderInfoSnapshot(metrics.ProviderInfo, []aibridged.ProviderOutcome{
		{Name: "anthropic", Type: "anthropic", Status: aibridged.ProviderStatusEnabled},
	})
	families, err := registry.Gather()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, family := range families {
		fmt.Println(family.GetName(), len(family.GetMetric()))
	}
	// Output:
	// coder_aibridged_provider_info 1
	// coder_aibridged_providers_last_reload_success_timestamp_seconds 1
	// coder_aibridged_providers_last_reload_timestamp_seconds 1
}
