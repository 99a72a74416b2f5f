package aibridged

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged/internal/recording"
)

// recordMetrics reads the state of a server's records whenever it is collected. It is safe for concurrent use.
type recordMetrics struct {
	queue atomic.Pointer[recording.Queue] // Nil: no server uses these metrics.

	pending, bytes, age, dead                             *prometheus.Desc
	delivered, duplicates, appendErrors, dropped, damaged *prometheus.Desc
}

var _ prometheus.Collector = (*recordMetrics)(nil)

func newRecordMetrics() *recordMetrics {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &recordMetrics{
		pending:      desc("records_pending", "Records that the control plane does not have yet."),
		bytes:        desc("records_pending_bytes", "Bytes of the records that the control plane does not have yet."),
		age:          desc("records_oldest_age_seconds", "How long the oldest record has waited for the control plane."),
		dead:         desc("records_dead", "Records that the control plane refuses, set aside."),
		delivered:    desc("records_delivered_total", "Records that the control plane took."),
		duplicates:   desc("records_duplicates_total", "Records that the control plane took although it had them already."),
		appendErrors: desc("records_append_errors_total", "Times that records could not be written or synced."),
		dropped:      desc("records_dropped_total", "Records that were given up, as configured, for want of room."),
		damaged:      desc("records_damaged_total", "Pieces of the records on disk that were found damaged."),
	}
}

// watch makes the metrics report on a queue.
func (m *Metrics) watch(queue *recording.Queue) {
	if m != nil {
		m.records.queue.Store(queue)
	}
}

// Describe implements [prometheus.Collector].
func (m *recordMetrics) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		m.pending, m.bytes, m.age, m.dead, m.delivered, m.duplicates, m.appendErrors, m.dropped, m.damaged,
	} {
		descs <- desc
	}
}

// Collect implements [prometheus.Collector].
func (m *recordMetrics) Collect(metrics chan<- prometheus.Metric) {
	queue := m.queue.Load()
	if queue == nil {
		return
	}
	stats := queue.Stats()
	gauge := func(desc *prometheus.Desc, value float64) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}
	counter := func(desc *prometheus.Desc, value int64) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value))
	}
	gauge(m.pending, float64(stats.Pending))
	gauge(m.bytes, float64(stats.Bytes))
	gauge(m.age, stats.Age.Seconds())
	gauge(m.dead, float64(stats.Dead))
	counter(m.delivered, stats.Delivered)
	counter(m.duplicates, stats.Duplicates)
	counter(m.appendErrors, stats.AppendErrors)
	counter(m.dropped, stats.Dropped)
	counter(m.damaged, stats.Damaged)
}
