package ingress

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// ContinueTrace returns a context in which spans and log lines belong to the trace that a request names in its W3C
// headers, traceparent and tracestate. It returns ctx as it is if that belongs to a trace already, for example because a
// host has read the headers, or if the headers name none. It leaves the headers as they are.
func ContinueTrace(ctx context.Context, header http.Header) context.Context {
	// Two of them say nothing: one was not meant for us, and it is not known which.
	if len(header["Traceparent"]) != 1 || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(header))
}
