package aibridge_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/coder/aibridged/aibridge"
)

// TestSpans checks the names, the order and the attributes of an interception's spans. The attributes without a prefix of
// ours are those of OpenTelemetry's semantic conventions for generative AI.
func TestSpans(t *testing.T) {
	for name, test := range map[string]struct {
		upstream http.RoundTripper
		want     attribute.KeyValue
	}{
		"answered": {pieces{whole}, attribute.String("gen_ai.request.model", "m")},
		"failed": {roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, http.ErrServerClosed
		}), attribute.String("error.type", "server_error")},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := tracetest.NewSpanRecorder()
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
			bridge := newBridge(t, test.upstream, discard{}, aibridge.BridgeOptions{Tracer: tracer})
			bridge.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/p/v1/messages", strings.NewReader(`{"model":"m","messages":[]}`)))
			ended := recorder.Ended()
			var names []string
			for _, span := range ended {
				names = append(names, span.Name())
			}
			if got := strings.Join(names, " "); got != "Intercept.Upstream Intercept" {
				t.Fatalf("spans %q ended, in this order", got)
			}
			intercept := attribute.NewSet(ended[1].Attributes()...)
			for _, want := range []attribute.KeyValue{test.want, attribute.String("gen_ai.provider.name", "anthropic")} {
				if got, _ := intercept.Value(want.Key); got != want.Value {
					t.Errorf("%s is %q, want %q", want.Key, got.String(), want.Value.String())
				}
			}
		})
	}
}
