package aibridge

import (
	"context"
	"time"

	"cdr.dev/slog/v3"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/internal/wire"
)

// longestErrorMessage is what a record keeps of one, in bytes.
const longestErrorMessage = 1024

// end records what is known of the exchange, whatever happened to it: it runs deferred, also while a panic passes.
func (x *exchange) end(ctx context.Context) {
	for _, answer := range x.answers {
		answer.abandon()
	}
	outcome := x.outcome(ctx)
	outcome.message = storable.Cut(storable.Text(x.credential.redact(outcome.message)), longestErrorMessage)
	took := time.Since(x.started)

	// The request may be over, but not its accounting.
	ctx = context.WithoutCancel(ctx)
	var records []Record
	for _, answer := range x.answers {
		answer.span.End()
		records = append(records, x.answerRecords(answer)...)
	}
	records = append(records, &InterceptionEnd{
		RecordID:       newRecordID(),
		InterceptionID: x.id,
		EndedAt:        x.started.Add(took),
		CredentialHint: storable.Text(x.credential.hint()),
		ErrorType:      outcome.errorType,
		ErrorMessage:   outcome.message,
	})
	if err := x.bridge.recorder.Record(ctx, records...); err != nil {
		x.bridge.options.Logger.Error(ctx, "records of an interception were lost",
			slog.F("interception_id", x.id), slog.F("records", len(records)), slog.Error(err))
	}
	if outcome.errorType != "" {
		x.span.SetStatus(codes.Error, string(outcome.errorType))
		x.span.SetAttributes(attribute.String("error.type", string(outcome.errorType)))
	}
	x.bridge.options.Metrics.recorded(x, records)
	x.bridge.options.Metrics.ended(x, outcome, took)
	x.log(ctx, outcome, took, len(records))
}

// log writes the interception's one line.
func (x *exchange) log(ctx context.Context, outcome outcome, took time.Duration, records int) {
	fields := []slog.Field{
		slog.F("interception_id", x.id),
		slog.F("provider", x.to.provider.name),
		slog.F("format", x.format.Name),
		slog.F("model", storable.Cut(storable.Text(x.request.Model), 128)),
		slog.F("stream", x.request.Stream),
		slog.F("duration", took),
		slog.F("first_byte", x.firstByte),
		slog.F("upstream_wait", x.upstreamWait),
		slog.F("rounds", len(x.answers)),
		slog.F("records", records),
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
	x.bridge.options.Logger.Log(ctx, slog.SinkEntry{
		Time: time.Now().UTC(), Level: slog.LevelInfo, Message: "interception ended", Fields: fields,
		SpanContext: trace.SpanContextFromContext(ctx),
	})
}

// answerRecords is what one upstream answer leaves: its usage, then the calls and the thoughts in their order.
func (x *exchange) answerRecords(answer *answer) []Record {
	seen := answer.said()
	now := x.started.Add(time.Since(x.started))
	id := storable.Text(seen.ID)
	records := make([]Record, 0, 2+len(seen.ToolCalls)+len(seen.Thoughts))
	if seen.Usage != nil {
		records = append(records, &TokenUsage{
			RecordID:              newRecordID(),
			InterceptionID:        x.id,
			MessageID:             id,
			InputTokens:           seen.Usage.Input,
			OutputTokens:          seen.Usage.Output,
			CacheReadInputTokens:  seen.Usage.CacheRead,
			CacheWriteInputTokens: seen.Usage.CacheWrite,
			Metadata:              usageMetadata(seen, answer),
			CreatedAt:             now,
		})
	}
	for _, call := range seen.ToolCalls {
		input, changed := toolInput(call.Input)
		records = append(records, &ToolUsage{
			RecordID:       newRecordID(),
			InterceptionID: x.id,
			MessageID:      id,
			ToolCallID:     storable.Text(call.ID),
			ItemID:         storable.Text(call.ItemID),
			Tool:           storable.Text(call.Name),
			Input:          input,
			Metadata:       flagged(nil, changed),
			CreatedAt:      now,
		})
	}
	for _, thought := range seen.Thoughts {
		content := storable.Text(thought.Content)
		metadata := flagged(Metadata{"source": thought.Source}, content != thought.Content)
		if thought.Redacted {
			metadata["redacted"] = true
		}
		records = append(records, &ModelThought{
			RecordID: newRecordID(), InterceptionID: x.id, Content: content, Metadata: metadata, CreatedAt: now,
		})
	}
	return records
}

// usageMetadata holds what of a usage has no field of its own.
func usageMetadata(seen wire.Answer, answer *answer) Metadata {
	metadata := make(Metadata, len(seen.Usage.Extra)+3)
	for kind, count := range seen.Usage.Extra {
		metadata[kind] = count
	}
	if seen.Usage.ServiceTier != "" {
		metadata["service_tier"] = storable.Text(seen.Usage.ServiceTier)
	}
	if seen.Model != "" {
		metadata["model"] = storable.Text(seen.Model)
	}
	if seen.Usage.Inconsistent {
		metadata["inconsistent"] = true
	}
	if n := answer.unreadEvents(); n > 0 {
		metadata["unread"] = int64(n)
	}
	broken := !answer.ended || answer.err != nil
	if broken && !seen.Terminal || seen.Usage.Preliminary {
		metadata["partial"] = true
	}
	return metadata
}

// flagged notes that a text was changed to be storable.
func flagged(metadata Metadata, changed bool) Metadata {
	if !changed {
		return metadata
	}
	if metadata == nil {
		metadata = Metadata{}
	}
	metadata["sanitized"] = true
	return metadata
}

// newRecordID returns an id of ours, never the provider's.
func newRecordID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.New() // Both read the same source, which on Linux does not fail.
	}
	return id
}
