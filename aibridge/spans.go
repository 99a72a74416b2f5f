package aibridge

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/storable"
	"github.com/coder/aibridged/internal/wire"
)

// The attributes of spans without a prefix of ours are those of OpenTelemetry's semantic conventions for generative AI.
const (
	spanOperation    = attribute.Key("gen_ai.operation.name")
	spanProvider     = attribute.Key("gen_ai.provider.name")
	spanRequestModel = attribute.Key("gen_ai.request.model")
	spanModel        = attribute.Key("gen_ai.response.model")
	spanAnswerID     = attribute.Key("gen_ai.response.id")
	spanInput        = attribute.Key("gen_ai.usage.input_tokens") // With cached tokens, unlike that of a record.
	spanOutput       = attribute.Key("gen_ai.usage.output_tokens")
	spanCacheRead    = attribute.Key("gen_ai.usage.cache_read.input_tokens")
	spanCacheWrite   = attribute.Key("gen_ai.usage.cache_creation.input_tokens")
	spanTool         = attribute.Key("gen_ai.tool.name")
	spanToolCall     = attribute.Key("gen_ai.tool.call.id")
	spanErrorType    = attribute.Key("error.type")
	spanStatus       = attribute.Key("http.response.status_code")
)

// conventionalName returns the name that the conventions have for a type of provider.
func conventionalName(kind string) string {
	switch kind {
	case "azure":
		return "azure.ai.openai"
	case "bedrock":
		return "aws.bedrock"
	case "google":
		return "gcp.gemini"
	case "vertex":
		return "gcp.vertex_ai"
	}
	return kind
}

// providerSpans are the options of a provider's spans. They are made once, so that a span that nobody records costs nothing.
type providerSpans struct {
	serving []trace.SpanStartOption // Of a client's request.
	asking  []trace.SpanStartOption // Of a request to the upstream.
}

func newProviderSpans(kind, name string) providerSpans {
	of := trace.WithAttributes(spanProvider.String(conventionalName(kind)), attribute.String("provider_name", name))
	return providerSpans{
		serving: []trace.SpanStartOption{of, trace.WithSpanKind(trace.SpanKindServer)},
		asking:  []trace.SpanStartOption{of, trace.WithSpanKind(trace.SpanKindClient)},
	}
}

// spanName returns a text that a client or an upstream chose, as spans have it.
func spanName(text string) string { return storable.Cut(storable.Text(text), longestName) }

// operationOf returns what the conventions call the operation of a format.
func operationOf(format *wire.Format) string {
	if format.Name == "embeddings" {
		return "embeddings"
	}
	return "chat"
}

// failSpan notes in a span that its work failed.
func failSpan(span trace.Span, kind ErrorType) {
	span.SetStatus(codes.Error, string(kind))
	span.SetAttributes(spanErrorType.String(string(kind)))
}

// describeSpan notes in an interception's span what its request asks for.
func (i *interception) describeSpan() {
	if !i.span.IsRecording() {
		return
	}
	i.span.SetAttributes(
		attribute.String("interception.id", i.id.String()), attribute.String("format", i.format.Name), spanOperation.String(operationOf(i.format)),
		spanRequestModel.String(spanName(i.inspected.Model)), attribute.Bool("stream", i.inspected.Stream),
	)
}

// endSpans notes in the spans what the answers said and how the interception ended, and ends those of the rounds.
func (i *interception) endSpans() {
	ended := i.concluded.outcome.errorType
	for _, round := range i.rounds {
		round.endSpan(ended)
	}
	if !i.span.IsRecording() {
		return
	}
	var all wire.Usage
	isMetered := false
	for _, round := range i.rounds {
		if usage := round.said().Usage; usage != nil {
			isMetered = true
			all.Input, all.Output = all.Input+usage.Input, all.Output+usage.Output
			all.CacheRead, all.CacheWrite = all.CacheRead+usage.CacheRead, all.CacheWrite+usage.CacheWrite
		}
	}
	said := wire.Answer{}
	if n := len(i.rounds); n > 0 {
		said = i.rounds[n-1].said()
	}
	if said.Usage = nil; isMetered {
		said.Usage = &all
	}
	i.span.SetAttributes(append(answerAttributes(said), attribute.Int("rounds", len(i.rounds)))...)
	if ended != "" {
		failSpan(i.span, ended)
	}
}

// endSpan notes in the span of a round what its answer has said, and ends it. Otherwise is why the answer is not
// whole, if it is not. Further calls do nothing.
func (r *round) endSpan(otherwise ErrorType) {
	if r.span.IsRecording() {
		said := r.said()
		r.span.SetAttributes(append(answerAttributes(said), spanStatus.Int(r.status))...)
		if kind := r.failed(said, otherwise); kind != "" {
			failSpan(r.span, kind)
		}
	}
	r.span.End()
}

// endUnanswered ends the span of a request to the upstream that had no answer.
func (x *relay) endUnanswered(span trace.Span, err error) {
	if span.IsRecording() {
		kind := errorTypeOf(apierror.From(err).Status)
		if x.ctx.Err() != nil {
			kind = ErrorClientClosed
		}
		failSpan(span, kind)
	}
	span.End()
}

// endPassthrough ends the span of a request that was passed through. IsWhole says that the client was sent all of an answer.
func endPassthrough(ctx context.Context, span trace.Span, w *clientWriter, isWhole bool) {
	if span.IsRecording() {
		if w.status != 0 {
			span.SetAttributes(spanStatus.Int(w.status))
		}
		switch {
		case w.status >= http.StatusBadRequest:
			failSpan(span, errorTypeOf(w.status))
		case !isWhole && ctx.Err() != nil:
			failSpan(span, ErrorClientClosed)
		case !isWhole:
			failSpan(span, ErrorTruncated)
		}
	}
	span.End()
}

// failed returns how a round failed, or nothing if it did not.
func (r *round) failed(said wire.Answer, otherwise ErrorType) ErrorType {
	switch {
	case r.status >= http.StatusMultipleChoices:
		return errorTypeOf(r.status)
	case said.Failure != (wire.Failure{}):
		return failureType(said.Failure)
	case r.err != nil, !r.ended && !said.Terminal:
		return otherwise
	}
	return ""
}

// answerAttributes returns what spans have of an answer.
func answerAttributes(said wire.Answer) []attribute.KeyValue {
	all := make([]attribute.KeyValue, 0, 8)
	if said.ID != "" {
		all = append(all, spanAnswerID.String(spanName(said.ID)))
	}
	if said.Model != "" {
		all = append(all, spanModel.String(spanName(said.Model)))
	}
	if usage := said.Usage; usage != nil {
		all = append(all,
			spanInput.Int64(usage.Input+usage.CacheRead+usage.CacheWrite), spanOutput.Int64(usage.Output),
			spanCacheRead.Int64(usage.CacheRead), spanCacheWrite.Int64(usage.CacheWrite))
	}
	return all
}
