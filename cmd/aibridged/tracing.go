package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	// tracingPatience bounds the sending of the spans that are left when the gateway ends.
	tracingPatience = 3 * time.Second
	// tracingSilence is the shortest time between two lines about spans that cannot be sent.
	tracingSilence = time.Minute
)

// tracing sends spans to where the OTEL_… variables of OpenTelemetry say. If they say nothing, there are no spans.
type tracing struct {
	provider *sdktrace.TracerProvider // Nil: there are no spans.
	exporter sdktrace.SpanExporter
}

// startTracing starts what sends spans. It fails in one line if a variable has a value that it cannot have. The caller closes
// the result.
func startTracing(ctx context.Context, logger slog.Logger) (*tracing, error) {
	protocol, err := tracingProtocol()
	if err != nil || protocol == "" {
		return &tracing{}, err
	}
	var exporter sdktrace.SpanExporter
	if protocol == "grpc" {
		exporter, err = otlptracegrpc.New(ctx)
	} else {
		exporter, err = otlptracehttp.New(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("export of traces: %w", err)
	}
	of, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attribute.String("service.name", "aibridged")), resource.WithFromEnv())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err), exporter.Shutdown(ctx))
	}
	otel.SetErrorHandler(&tracingErrors{logger: logger})
	return &tracing{exporter: exporter, provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of))}, nil
}

// tracer returns what makes spans.
func (t *tracing) tracer() trace.Tracer {
	if t.provider == nil {
		return noop.NewTracerProvider().Tracer("aibridged")
	}
	return t.provider.Tracer("github.com/coder/aibridged")
}

// close sends the spans that are left, for tracingPatience at most. Spans that could not be sent are lost, which is logged and
// no failure.
func (t *tracing) close() {
	if t.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), tracingPatience)
	defer cancel()
	err := t.provider.Shutdown(ctx)
	if ctx.Err() != nil { // The provider goes on sending then, until the exporter is told to end.
		err = errors.Join(err, t.exporter.Shutdown(ctx))
	}
	if err != nil {
		otel.Handle(err)
	}
}

// tracingProtocol returns the protocol to send spans by, by the variables of OpenTelemetry. It is empty if they name no place
// to send to, or switch it off.
func tracingProtocol() (string, error) {
	if off, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); off {
		return "", nil
	}
	endpoint := ""
	for _, name := range [...]string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"} {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		endpoint = value
		if at, err := url.Parse(value); err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
			return "", fmt.Errorf("%s: write an address such as http://127.0.0.1:4318", name) // It may hold a credential.
		}
	}
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); {
	case exporter == "none", exporter == "" && endpoint == "":
		return "", nil
	case exporter != "" && exporter != "otlp":
		return "", fmt.Errorf("OTEL_TRACES_EXPORTER is %q: use otlp or none", exporter)
	}
	protocol := "http/protobuf"
	for _, name := range [...]string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"} {
		switch value := os.Getenv(name); value {
		case "":
		case "http/protobuf", "grpc":
			protocol = value
		default:
			return "", fmt.Errorf("%s is %q: use http/protobuf or grpc", name, value)
		}
	}
	return protocol, nil
}

// tracingErrors logs why spans cannot be sent, once a minute at most.
type tracingErrors struct {
	logger slog.Logger
	logged atomic.Int64 // When it did so last, in nanoseconds since 1970.
}

// Handle implements [otel.ErrorHandler].
func (e *tracingErrors) Handle(err error) {
	now, last := time.Now().UnixNano(), e.logged.Load()
	if now-last >= int64(tracingSilence) && e.logged.CompareAndSwap(last, now) {
		e.logger.Warn(context.Background(), "traces cannot be sent", slog.Error(err))
	}
}
