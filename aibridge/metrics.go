package aibridge

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coder/aibridged/internal/admission"
	"github.com/coder/aibridged/internal/storable"
)

// modelsPerProvider bounds a label whose values come from clients: further models are counted as "other".
const modelsPerProvider = 100

// Metrics counts what bridges do. A nil *Metrics counts nothing. It is safe for concurrent use.
type Metrics struct {
	interceptions  *prometheus.CounterVec
	inflight       *prometheus.GaugeVec
	duration       *prometheus.HistogramVec
	passthrough    *prometheus.CounterVec
	prompts        *prometheus.CounterVec
	tokens         *prometheus.CounterVec
	toolSelections *prometheus.CounterVec
	invocations    *prometheus.CounterVec
	overhead       *prometheus.HistogramVec
	firstByte      *prometheus.HistogramVec
	panics         prometheus.Counter
	admission      *prometheus.CounterVec
	upstreams      upstreamMetrics

	models modelLabels
}

// NewMetrics returns metrics that are registered with reg. A host that wants its own namespace wraps reg. It panics
// where reg has metrics of these names already, as [prometheus.Registerer.MustRegister] does.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		interceptions: counter("interceptions_total", "Interceptions that ended, by how.", "provider", "model", "status"),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "interceptions_inflight", Help: "Bridged requests that are being served.",
		}, []string{"provider"}),
		duration: histogram("interceptions_duration_seconds", "Time from a request to the last byte of its answer.",
			[]float64{0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600}, "provider"),
		passthrough:    counter("passthrough_total", "Requests relayed on routes that are not recorded.", "provider", "route"),
		prompts:        counter("prompts_total", "Prompts that people typed.", "provider", "model"),
		tokens:         counter("tokens_total", "Tokens that upstreams counted, by kind.", "provider", "model", "type"),
		toolSelections: counter("non_injected_tool_selections_total", "Calls of the clients' own tools.", "provider", "model"),
		invocations: counter("injected_tool_invocations_total", "Calls of the gateway's own tools, by how they ended.",
			"provider", "model", "server", "status"),
		overhead: histogram("gateway_overhead_seconds", "Time that the gateway itself took before a request went upstream.",
			[]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1}, "provider"),
		firstByte: histogram("time_to_first_byte_seconds", "Time from a request to the first byte of its answer.",
			[]float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300}, "provider"),
		admission: counter("admission_refusals_total", "Requests that were refused because they were beyond a limit.", "limit"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "panics_total", Help: "Requests that failed because the gateway panicked.",
		}),
	}
	reg.MustRegister(m.interceptions, m.inflight, m.duration, m.passthrough, m.prompts, m.tokens, m.toolSelections, m.invocations,
		m.overhead, m.firstByte, m.panics, m.admission, &m.upstreams)
	return m
}

func (m *Metrics) began(to destination) {
	if m != nil {
		m.inflight.WithLabelValues(to.provider.name).Inc()
	}
}

// over ends what began counted, however the request ended: with an interception, a refusal or a panic.
func (m *Metrics) over(to destination) {
	if m != nil {
		m.inflight.WithLabelValues(to.provider.name).Dec()
	}
}

func (m *Metrics) passedThrough(to destination) {
	if m != nil {
		m.passthrough.WithLabelValues(to.provider.name, to.route.path).Inc()
	}
}

// refused counts a request that was beyond a limit.
func (m *Metrics) refused(limit admission.Limit) {
	if m != nil {
		m.admission.WithLabelValues(string(limit)).Inc()
	}
}

func (m *Metrics) panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

// ended counts an interception by its outcome.
func (m *Metrics) ended(i *interception) {
	if m == nil {
		return
	}
	provider, model := i.provider.name, m.models.label(i.provider.name, i.model())
	status := "success"
	if errorType := i.concluded.outcome.errorType; errorType != "" {
		status = string(errorType)
	}
	m.interceptions.WithLabelValues(provider, model, status).Inc()
	m.duration.WithLabelValues(provider).Observe(i.concluded.took.Seconds())
	if i.firstByte > 0 {
		m.firstByte.WithLabelValues(provider).Observe(i.firstByte.Seconds())
		m.overhead.WithLabelValues(provider).Observe(i.sentAfter.Seconds())
	}
}

// invoked counts a call of a tool of the gateway. The server is empty if no server has such a tool.
func (m *Metrics) invoked(i *interception, server string, failed bool) {
	if m == nil {
		return
	}
	status := "success"
	if failed {
		status = "error"
	}
	provider := i.provider.name
	m.invocations.WithLabelValues(provider, m.models.label(provider, i.inspected.Model), server, status).Inc()
}

// recorded counts what records say.
func (m *Metrics) recorded(i *interception, records []Record) {
	if m == nil {
		return
	}
	provider, model := i.provider.name, m.models.label(i.provider.name, i.model())
	for _, record := range records {
		switch record := record.(type) {
		case *PromptUsage:
			m.prompts.WithLabelValues(provider, model).Inc()
		case *ToolUsage:
			if record.Injected {
				continue // It was counted when it was run.
			}
			m.toolSelections.WithLabelValues(provider, model).Inc()
		case *TokenUsage:
			m.tokens.WithLabelValues(provider, model, "input").Add(float64(record.InputTokens))
			m.tokens.WithLabelValues(provider, model, "output").Add(float64(record.OutputTokens))
			m.tokens.WithLabelValues(provider, model, "cache_read").Add(float64(record.CacheReadInputTokens))
			m.tokens.WithLabelValues(provider, model, "cache_write").Add(float64(record.CacheWriteInputTokens))
		}
	}
}

// modelLabels admits the first models of each provider as labels.
type modelLabels struct {
	mu         sync.RWMutex
	byProvider map[string]map[string]struct{} // Guarded by mu.
}

func (l *modelLabels) label(provider, model string) string {
	model = storable.Cut(storable.Text(model), 128)
	l.mu.RLock()
	_, known := l.byProvider[provider][model]
	l.mu.RUnlock()
	if known {
		return model
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byProvider == nil {
		l.byProvider = map[string]map[string]struct{}{}
	}
	models := l.byProvider[provider]
	if models == nil {
		models = map[string]struct{}{}
		l.byProvider[provider] = models
	}
	if _, known := models[model]; !known && len(models) >= modelsPerProvider {
		return "other"
	}
	models[model] = struct{}{}
	return model
}
