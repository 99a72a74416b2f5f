package aibridged

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Metrics tells how the reloading of providers goes, and how the records of the [Server] fare that it is given to. All its methods are fine on a nil *Metrics, and safe for concurrent
// use.
type Metrics struct {
	// ProviderInfo is 1 for each provider's status of the last reload, by provider_name, provider_type and status.
	ProviderInfo *prometheus.GaugeVec
	// ProvidersLastReloadTimestampSeconds is when a reload was last tried, as Unix time.
	ProvidersLastReloadTimestampSeconds prometheus.Gauge
	// ProvidersLastReloadSuccessTimestampSeconds is when one last succeeded.
	ProvidersLastReloadSuccessTimestampSeconds prometheus.Gauge

	records    *recordMetrics
	registerer prometheus.Registerer
	writing    sync.Mutex // Held while a snapshot is written to ProviderInfo.
}

// NewMetrics returns metrics that are registered with reg; a host that wants its own namespace wraps reg. It panics
// where reg has metrics of these names already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		ProviderInfo: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "provider_info", Help: "The providers and their status, each 1.",
		}, []string{"provider_name", "provider_type", "status"}),
		ProvidersLastReloadTimestampSeconds: gauge("providers_last_reload_timestamp_seconds",
			"When a reload of the providers was last tried, as Unix time."),
		ProvidersLastReloadSuccessTimestampSeconds: gauge("providers_last_reload_success_timestamp_seconds",
			"When a reload of the providers last succeeded, as Unix time."),
		records:    newRecordMetrics(),
		registerer: reg,
	}
	reg.MustRegister(m.collectors()...)
	return m
}

func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.ProviderInfo, m.ProvidersLastReloadTimestampSeconds, m.ProvidersLastReloadSuccessTimestampSeconds,
		m.records,
	}
}

// RecordReloadAttempt notes that the providers are being reloaded.
func (m *Metrics) RecordReloadAttempt() {
	if m != nil {
		m.ProvidersLastReloadTimestampSeconds.Set(unixNow())
	}
}

// RecordReloadSuccess notes that the providers were reloaded, with this outcome for each.
func (m *Metrics) RecordReloadSuccess(outcomes []ProviderOutcome) {
	if m == nil {
		return
	}
	m.ProvidersLastReloadSuccessTimestampSeconds.Set(unixNow())
	m.writing.Lock()
	defer m.writing.Unlock()
	WriteProviderInfoSnapshot(m.ProviderInfo, outcomes)
}

// Unregister takes the metrics out of their registry.
func (m *Metrics) Unregister() {
	if m == nil {
		return
	}
	for _, collector := range m.collectors() {
		m.registerer.Unregister(collector)
	}
}

// unixNow has a resolution of milliseconds, so that reloads in one second can be told apart.
func unixNow() float64 { return float64(time.Now().UnixMilli()) / 1000 }

// providerSeries is one series of provider_info.
type providerSeries struct {
	name, kind, status string
}

// WriteProviderInfoSnapshot makes info, a vector like [Metrics].ProviderInfo, say what outcomes say and nothing else. New
// statuses are set before old ones are deleted, so that whoever reads info meanwhile misses no provider that stays. One
// call at a time may write to an info. A nil info is fine.
func WriteProviderInfoSnapshot(info *prometheus.GaugeVec, outcomes []ProviderOutcome) {
	if info == nil {
		return
	}
	fresh := make(map[providerSeries]struct{}, len(outcomes))
	for _, outcome := range outcomes {
		// A provider that could not be made may be named anything, but a label is valid UTF-8.
		series := providerSeries{
			name:   strings.ToValidUTF8(outcome.Name, "\uFFFD"),
			kind:   strings.ToValidUTF8(outcome.Type, "\uFFFD"),
			status: string(outcome.Status),
		}
		fresh[series] = struct{}{}
		info.WithLabelValues(series.name, series.kind, series.status).Set(1)
	}
	for _, series := range seriesOf(info) {
		if _, ok := fresh[series]; !ok {
			info.DeleteLabelValues(series.name, series.kind, series.status)
		}
	}
}

// seriesOf returns the series that info has.
func seriesOf(info *prometheus.GaugeVec) []providerSeries {
	metrics := make(chan prometheus.Metric)
	go func() {
		defer close(metrics)
		info.Collect(metrics)
	}()
	var all []providerSeries
	for metric := range metrics {
		var written dto.Metric
		if err := metric.Write(&written); err != nil {
			continue // A gauge always writes.
		}
		var series providerSeries
		for _, label := range written.GetLabel() {
			switch label.GetName() {
			case "provider_name":
				series.name = label.GetValue()
			case "provider_type":
				series.kind = label.GetValue()
			case "status":
				series.status = label.GetValue()
			}
		}
		all = append(all, series)
	}
	return all
}
