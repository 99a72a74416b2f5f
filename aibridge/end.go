package aibridge

import (
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/storable"
)

// end closes the exchange, whatever happened to it: it runs deferred, also while a panic passes.
func (x *exchange) end() {
	for _, answer := range x.answers {
		answer.abandon()
		answer.span.End()
	}
	_ = x.conclude() // Says so itself where it fails.
	outcome := x.concluded.outcome
	if outcome.errorType != "" {
		x.span.SetStatus(codes.Error, string(outcome.errorType))
		x.span.SetAttributes(attribute.String("error.type", string(outcome.errorType)))
	}
	x.bridge.options.Metrics.ended(x)
	x.log()
}

// log writes the interception's one line.
func (x *exchange) log() {
	outcome := x.concluded.outcome
	fields := []slog.Field{
		slog.F("interception_id", x.id),
		slog.F("provider", x.to.provider.name),
		slog.F("format", x.format.Name),
		slog.F("model", storable.Cut(storable.Text(x.request.Model), 128)),
		slog.F("stream", x.request.Stream),
		slog.F("duration", x.concluded.took),
		slog.F("first_byte", x.firstByte),
		slog.F("upstream_wait", x.upstreamWait),
		slog.F("rounds", len(x.answers)),
		slog.F("records", x.concluded.records),
	}
	if len(x.answers) > 0 {
		last := x.answers[len(x.answers)-1]
		fields = append(fields, slog.F("status", last.status))
		if n := last.unreadEvents(); n > 0 {
			fields = append(fields, slog.F("unread", n))
		}
	}
	if outcome.errorType != "" {
		fields = append(fields, slog.F("error_type", outcome.errorType))
	}
	if x.failure != nil && x.failure.Cause != nil {
		fields = append(fields, slog.F("cause", x.credential.redact(x.failure.Cause.Error())))
	}
	// Log asks for no place in the source, which is this one always, and costs more to find than all the rest.
	x.bridge.options.Logger.Log(x.ctx, slog.SinkEntry{
		Time: time.Now().UTC(), Level: slog.LevelInfo, Message: "interception ended", Fields: fields,
		SpanContext: trace.SpanContextFromContext(x.ctx),
	})
}
