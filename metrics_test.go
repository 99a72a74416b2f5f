package aibridged_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/coder/aibridged"
)

// gather returns the value of each series of a registry, by its name and labels.
func gather(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			series[family.GetName()+labels(metric)] = metric.GetGauge().GetValue() + metric.GetCounter().GetValue()
		}
	}
	return series
}

func labels(metric *dto.Metric) string {
	var pairs []string
	for _, label := range metric.GetLabel() {
		pairs = append(pairs, label.GetName()+"="+label.GetValue())
	}
	if len(pairs) == 0 {
		return ""
	}
	return "{" + strings.Join(pairs, ",") + "}"
}

func checkSeries(t *testing.T, registry prometheus.Gatherer, want map[string]float64) {
	t.Helper()
	if got := gather(t, registry); !maps.Equal(got, want) {
		t.Errorf("metrics\n%v\nwant\n%v", got, want)
	}
}

func outcome(name, kind string, status aibridged.ProviderStatus) aibridged.ProviderOutcome {
	return aibridged.ProviderOutcome{Name: name, Type: kind, Status: status}
}

// Dashboards rely on the names; a host's own namespace goes before them.
func TestMetricsOfReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		metrics := aibridged.NewMetrics(prometheus.WrapRegistererWithPrefix("host_", registry))
		checkSeries(t, registry, map[string]float64{
			"host_providers_last_reload_timestamp_seconds":         0,
			"host_providers_last_reload_success_timestamp_seconds": 0,
		})

		time.Sleep(1500 * time.Millisecond)
		metrics.RecordReloadAttempt()
		attempt := float64(time.Now().UnixMilli()) / 1000
		checkSeries(t, registry, map[string]float64{
			"host_providers_last_reload_timestamp_seconds":         attempt,
			"host_providers_last_reload_success_timestamp_seconds": 0,
		})

		time.Sleep(time.Second)
		metrics.RecordReloadSuccess([]aibridged.ProviderOutcome{
			outcome("claude", "anthropic", aibridged.ProviderStatusEnabled),
			outcome("gpt", "openai", aibridged.ProviderStatusDisabled),
			{Name: "broken", Type: "azure", Status: aibridged.ProviderStatusError, Err: errBuild},
		})
		checkSeries(t, registry, map[string]float64{
			"host_providers_last_reload_timestamp_seconds":                                    attempt,
			"host_providers_last_reload_success_timestamp_seconds":                            attempt + 1,
			"host_provider_info{provider_name=claude,provider_type=anthropic,status=enabled}": 1,
			"host_provider_info{provider_name=gpt,provider_type=openai,status=disabled}":      1,
			"host_provider_info{provider_name=broken,provider_type=azure,status=error}":       1,
		})

		metrics.Unregister()
		checkSeries(t, registry, map[string]float64{})
		metrics.Unregister() // A second call does nothing.
		aibridged.NewMetrics(prometheus.WrapRegistererWithPrefix("host_", registry))
	})
}

func TestMetricsOnNil(t *testing.T) {
	t.Parallel()
	var metrics *aibridged.Metrics
	metrics.RecordReloadAttempt()
	metrics.RecordReloadSuccess([]aibridged.ProviderOutcome{outcome("claude", "anthropic", aibridged.ProviderStatusEnabled)})
	metrics.Unregister()
	aibridged.WriteProviderInfoSnapshot(nil, nil)
}

func TestMetricsTwiceInARegistry(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	aibridged.NewMetrics(registry)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	aibridged.NewMetrics(registry)
}

// After each snapshot, the metric holds exactly the outcomes, whatever it held before.
func TestProviderInfoSnapshot(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	metrics := aibridged.NewMetrics(registry)
	metrics.Unregister()
	registry.MustRegister(metrics.ProviderInfo)
	one := outcome("one", "anthropic", aibridged.ProviderStatusEnabled)
	const seriesOfOne = "provider_info{provider_name=one,provider_type=anthropic,status=enabled}"
	for _, step := range []struct {
		name     string
		outcomes []aibridged.ProviderOutcome
		want     map[string]float64
	}{
		{"first", []aibridged.ProviderOutcome{one}, map[string]float64{seriesOfOne: 1}},
		{"again", []aibridged.ProviderOutcome{one}, map[string]float64{seriesOfOne: 1}},
		{"twice", []aibridged.ProviderOutcome{one, one}, map[string]float64{seriesOfOne: 1}},
		{"one more", []aibridged.ProviderOutcome{one, outcome("two", "openai", aibridged.ProviderStatusEnabled)}, map[string]float64{
			seriesOfOne: 1,
			"provider_info{provider_name=two,provider_type=openai,status=enabled}": 1,
		}},
		{"other status", []aibridged.ProviderOutcome{outcome("one", "anthropic", aibridged.ProviderStatusDisabled)}, map[string]float64{
			"provider_info{provider_name=one,provider_type=anthropic,status=disabled}": 1,
		}},
		{"other type", []aibridged.ProviderOutcome{outcome("one", "bedrock", aibridged.ProviderStatusDisabled)}, map[string]float64{
			"provider_info{provider_name=one,provider_type=bedrock,status=disabled}": 1,
		}},
		{"no text", []aibridged.ProviderOutcome{outcome("o\xff", "\xfe", aibridged.ProviderStatusError)}, map[string]float64{
			"provider_info{provider_name=o\uFFFD,provider_type=\uFFFD,status=error}": 1,
		}},
		{"none", nil, map[string]float64{}},
	} {
		aibridged.WriteProviderInfoSnapshot(metrics.ProviderInfo, step.outcomes)
		if got := gather(t, registry); !maps.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}

// A reader that gathers while snapshots are written never misses a provider that all of them have.
func TestProviderInfoHasNoGap(t *testing.T) {
	t.Parallel()
	metrics := aibridged.NewMetrics(prometheus.NewRegistry())
	snapshots := [][]aibridged.ProviderOutcome{
		{outcome("stays", "anthropic", aibridged.ProviderStatusEnabled), outcome("goes", "openai", aibridged.ProviderStatusEnabled)},
		{outcome("stays", "anthropic", aibridged.ProviderStatusDisabled)},
	}
	aibridged.WriteProviderInfoSnapshot(metrics.ProviderInfo, snapshots[0])
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range 5000 {
			aibridged.WriteProviderInfoSnapshot(metrics.ProviderInfo, snapshots[i%2])
		}
	}()
	for looks := 0; ; looks++ {
		if !slices.Contains(providerNames(t, metrics.ProviderInfo), "stays") {
			t.Fatalf("the provider was not there at look %d", looks)
		}
		select {
		case <-written:
			return
		default:
		}
	}
}

// providerNames returns the provider_name of each series.
func providerNames(t *testing.T, info *prometheus.GaugeVec) []string {
	t.Helper()
	metrics := make(chan prometheus.Metric, 1000) // Room for all series.
	info.Collect(metrics)
	close(metrics)
	var names []string
	for metric := range metrics {
		var written dto.Metric
		if err := metric.Write(&written); err != nil {
			t.Fatal(err)
		}
		for _, label := range written.GetLabel() {
			if label.GetName() == "provider_name" {
				names = append(names, label.GetValue())
			}
		}
	}
	return names
}

// Where reloads are recorded at the same time, the metric ends with the outcomes of one of them.
func TestMetricsOfConcurrentReloads(t *testing.T) {
	t.Parallel()
	metrics := aibridged.NewMetrics(prometheus.NewRegistry())
	for range 50 {
		const providers = 200 // So many that the recordings overlap.
		var recording sync.WaitGroup
		for _, status := range []aibridged.ProviderStatus{aibridged.ProviderStatusEnabled, aibridged.ProviderStatusDisabled} {
			var outcomes []aibridged.ProviderOutcome
			for i := range providers {
				outcomes = append(outcomes, outcome(strconv.Itoa(i), "anthropic", status))
			}
			recording.Go(func() {
				metrics.RecordReloadAttempt()
				metrics.RecordReloadSuccess(outcomes)
			})
		}
		recording.Wait()
		if got := providerNames(t, metrics.ProviderInfo); len(got) != providers {
			t.Fatalf("%d series for %d providers", len(got), providers)
		}
	}
}
