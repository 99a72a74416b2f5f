package aibridge

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged/internal/keys"
)

// upstreamMetrics tells the state of the keys and breakers of a set of providers when it is collected. The configuration
// alone chooses its labels.
type upstreamMetrics struct{ of atomic.Pointer[ProviderSet] }

// Watch makes the metrics show the keys and breakers of a set of providers, in the place of those of the set before. Fine
// on nil Metrics.
func (m *Metrics) Watch(providers *ProviderSet) {
	if m != nil {
		m.upstreams.of.Store(providers)
	}
}

// upstreamDescs are the metrics of upstreams.
type upstreamDescs struct{ breakerState, breakerTrips, breakerRejects, keyState, failovers *prometheus.Desc }

func (*upstreamMetrics) descs() upstreamDescs {
	return upstreamDescs{
		breakerState: prometheus.NewDesc("circuit_breaker_state", "0: requests go upstream, 1: they are refused since the upstream fails, 0.5: one tries.",
			[]string{"provider", "route"}, nil),
		breakerTrips:   prometheus.NewDesc("circuit_breaker_trips_total", "How often a breaker has opened.", []string{"provider", "route"}, nil),
		breakerRejects: prometheus.NewDesc("circuit_breaker_rejects_total", "Requests that an open breaker has refused.", []string{"provider", "route"}, nil),
		keyState:       prometheus.NewDesc("key_pool_state", "How many keys of a provider are in a state.", []string{"provider", "state"}, nil),
		failovers:      prometheus.NewDesc("key_pool_failovers_total", "Requests that went to another key because one was refused.", []string{"provider"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (m *upstreamMetrics) Describe(descs chan<- *prometheus.Desc) {
	d := m.descs()
	for _, desc := range []*prometheus.Desc{d.breakerState, d.breakerTrips, d.breakerRejects, d.keyState, d.failovers} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (m *upstreamMetrics) Collect(metrics chan<- prometheus.Metric) {
	set := m.of.Load()
	if set == nil {
		return
	}
	d := m.descs()
	for name, provider := range set.byName {
		for route, breaker := range provider.breakers {
			if breaker == nil {
				continue
			}
			counts := breaker.Counts()
			metrics <- prometheus.MustNewConstMetric(d.breakerState, prometheus.GaugeValue, float64(counts.State), name, route)
			metrics <- prometheus.MustNewConstMetric(d.breakerTrips, prometheus.CounterValue, float64(counts.Trips), name, route)
			metrics <- prometheus.MustNewConstMetric(d.breakerRejects, prometheus.CounterValue, float64(counts.Rejects), name, route)
		}
		if len(provider.keys) == 0 {
			continue
		}
		states := provider.pool.Count()
		for _, state := range keys.States() {
			metrics <- prometheus.MustNewConstMetric(d.keyState, prometheus.GaugeValue, float64(states[state]), name, string(state))
		}
		metrics <- prometheus.MustNewConstMetric(d.failovers, prometheus.CounterValue, float64(provider.pool.Failovers()), name)
	}
}
