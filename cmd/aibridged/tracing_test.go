package main

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cdr.dev/slog/v3"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is an OTLP collector that keeps the names of the spans that it gets, by the name of their service.
type collector struct {
	*httptest.Server

	mu    sync.Mutex
	spans map[string][]string // Guarded by mu.
	auth  string              // Guarded by mu.
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{spans: map[string][]string{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		text, err := io.ReadAll(body)
		var request coltrace.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(text, &request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.auth = r.Header.Get("Authorization")
		for _, of := range request.GetResourceSpans() {
			service := ""
			for _, attribute := range of.GetResource().GetAttributes() {
				if attribute.GetKey() == "service.name" {
					service = attribute.GetValue().GetStringValue()
				}
			}
			for _, scope := range of.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					c.spans[service] = append(c.spans[service], span.GetName())
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// TestServeTraces checks that serve sends its spans to where the standard variables say, the last ones when it ends.
func TestServeTraces(t *testing.T) {
	c := newCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	for service, attributes := range map[string]string{"aibridged": "", "mine": "service.name=mine"} {
		t.Setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)
		s := serveHere(t)
		if status, answer := s.ask(t, "/anthropic/v1/messages", s.token(t), `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`); status != 200 {
			t.Fatalf("%d %s", status, answer)
		}
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		c.mu.Lock()
		got, auth := strings.Join(c.spans[service], " "), c.auth
		c.mu.Unlock()
		for _, want := range []string{"CachedBridgePool.Acquire", "Intercept.Upstream", "Intercept"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: the collector got %q", service, got)
			}
		}
		if auth != "Basic abc" {
			t.Errorf("with %q", auth)
		}
	}
}

// token makes a token of a user.
func (s *served) token(t *testing.T) string {
	t.Helper()
	token, _, err := run(t.Context(), "token", "create", "--user", "ada", "--data-dir", s.data)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(token)
}

// TestTracingVariables checks which variables switch tracing on, and that one which cannot be is refused in one line that does
// not repeat what may be secret.
func TestTracingVariables(t *testing.T) {
	for _, test := range []struct{ variables, protocol, err string }{
		{"", "", ""},
		{"OTEL_SERVICE_NAME=x", "", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", "http/protobuf", ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://c/v1/traces", "http/protobuf", ""},
		{"OTEL_TRACES_EXPORTER=otlp", "http/protobuf", ""},
		{"OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", "", ""},
		{"OTEL_SDK_DISABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318", "", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "grpc", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf", "http/protobuf", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=u:secret", "", "OTEL_EXPORTER_OTLP_ENDPOINT: write an address such as http://127.0.0.1:4318"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=c:4317", "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: write an address such as http://127.0.0.1:4318"},
		{"OTEL_TRACES_EXPORTER=zipkin", "", `OTEL_TRACES_EXPORTER is "zipkin": use otlp or none`},
		{"OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "", `OTEL_EXPORTER_OTLP_PROTOCOL is "http/json": use http/protobuf or grpc`},
	} {
		t.Run(test.variables, func(t *testing.T) {
			for pair := range strings.FieldsSeq(test.variables) {
				name, value, _ := strings.Cut(pair, "=")
				t.Setenv(name, value)
			}
			protocol, err := tracingProtocol()
			message := ""
			if err != nil {
				message = err.Error()
			}
			if protocol != test.protocol || message != test.err {
				t.Errorf("%q, %q", protocol, message)
			}
		})
	}
}

// TestTracingEnds checks that a collector that does not answer keeps nobody for long, by either protocol.
func TestTracingEnds(t *testing.T) {
	stuck := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // Else the server does not notice that the client has left.
		select {
		case <-stuck:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(stuck)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", silent.URL)
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
		tracing, err := startTracing(t.Context(), slog.Logger{})
		if err != nil {
			t.Fatal(err)
		}
		_, span := tracing.tracer().Start(context.Background(), "x")
		span.End()
		began := time.Now()
		tracing.close()
		if took := time.Since(began); took > tracingPatience+2*time.Second {
			t.Errorf("%s: it took %v", protocol, took)
		}
	}
}
