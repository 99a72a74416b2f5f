package aibridged

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Metrics counts the reloads of providers and the records of the [Server] that it is given to. Its methods are safe for
// concurrent use and do nothing on a nil *Metrics.
type Metrics struct {
	// ProviderInfo is 1 for each provider of the last reload, labelled with provider_name, provider_type and status.
	ProviderInfo *prometheus.GaugeVec
	// ProvidersLastReloadTimestampSeconds is the Unix time of the last attempt to reload.
	ProvidersLastReloadTimestampSeconds prometheus.Gauge
	// ProvidersLastReloadSuccessTimestampSeconds is the Unix time of the last successful reload.
	ProvidersLastReloadSuccessTimestampSeconds prometheus.Gauge

	records    *recordMetrics
	registerer prometheus.Registerer
	writing    sync.Mutex // Held while a snapshot is written to ProviderInfo.
}

// NewMetrics returns metrics that are registered with reg; a host that wants its own namespace wraps reg. It panics
// where reg already has metrics of these names.
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

// WriteProviderInfoSnapshot makes info, a vector like [Metrics].ProviderInfo, hold exactly the outcomes. It sets new
// statuses before it deletes old ones, so that a concurrent reader of info misses no provider that stays. Calls for the
// same info must not overlap. A nil info is allowed.
func WriteProviderInfoSnapshot(info *prometheus.GaugeVec, outcomes []ProviderOutcome) {
	if info == nil {
		return
	}
	fresh := make(map[providerSeries]struct{}, len(outcomes))
	for _, outcome := range outcomes {
		// The name of a provider that could not be made may be any bytes, but a label must be valid UTF-8.
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

// seriesOf returns the series of info.
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
			continue // Writing a gauge never fails.
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
