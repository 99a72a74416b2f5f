package aibridge

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged/internal/apierror"
)

// disabledRetry is when a client may ask a disabled provider again: operators switch one on in minutes, not seconds.
const disabledRetry = time.Minute

// mostParameters is how many parameters a query may have: of a longer one, ReverseProxy would pass nothing on.
const mostParameters = 10_000

// BridgeOptions is what a bridge can do without. The zero value works.
type BridgeOptions struct {
	// APIKeyID names the gateway's key that the requests came with, for the records.
	APIKeyID string
	// Logger gets one line for each interception at its end, and what went wrong besides.
	Logger slog.Logger
	// Tracer gets the spans. Nil means none.
	Tracer trace.Tracer
	// Metrics counts. Nil means nothing is counted.
	Metrics *Metrics
}

// RequestBridge relays the requests of one initiator and records them. It is immutable and safe for concurrent use, and
// holds nothing that must be closed.
type RequestBridge struct {
	providers *ProviderSet
	recorder  Recorder
	options   BridgeOptions
}

// NewRequestBridge returns a bridge to providers that records into recorder.
func NewRequestBridge(providers *ProviderSet, recorder Recorder, options BridgeOptions) *RequestBridge {
	if options.Tracer == nil {
		options.Tracer = noop.NewTracerProvider().Tracer("aibridge")
	}
	return &RequestBridge{providers: providers, recorder: recorder, options: options}
}

// ServeHTTP serves /<provider>/<path>. The request's context carries its [Actor]. Errors of the bridge's own are
// written in the shape of the API that was called.
func (b *RequestBridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guarded := newClientWriter(w)
	defer b.contain(guarded, r)

	to, err := b.destination(r)
	if err != nil {
		refusal := apierror.From(err)
		// The body has not been read: net/http waits for what is left of it before it answers, but not for ever.
		_ = guarded.controller.SetReadDeadline(time.Now().Add(Limits{}.withDefaults().RequestBodyIdle))
		b.options.Logger.Info(r.Context(), "request refused", slog.F("method", r.Method), slog.F("status", refusal.Status), slog.Error(err))
		apierror.ForPath(r.URL.Path).Write(w, r, refusal)
		return
	}
	guarded.limit = to.provider.limits.Write
	if to.route.format == nil {
		b.passThrough(guarded, r, to)
		return
	}
	b.intercept(guarded, r, to)
}

// destination says where a request goes, or why nowhere, before anything of it is read.
func (b *RequestBridge) destination(r *http.Request) (destination, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		return destination{}, &apierror.Error{Status: http.StatusMethodNotAllowed, Text: "method not supported"}
	}
	if r.URL.Host != "" {
		return destination{}, &apierror.Error{Status: http.StatusBadRequest, Text: "send a path, not an absolute URL: this is no forward proxy"}
	}
	if strings.Count(r.URL.RawQuery, "&") >= mostParameters {
		return destination{}, &apierror.Error{Status: http.StatusBadRequest, Text: "query has too many parameters"}
	}
	to, err := b.providers.find(r)
	if err != nil {
		return destination{}, err
	}
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return destination{}, &apierror.Error{Status: http.StatusUpgradeRequired, Text: "WebSocket is not served here: use HTTP"}
	}
	if to.route.format != nil && r.Method != http.MethodPost {
		return destination{}, notSupported(r, r.URL.EscapedPath())
	}
	return to, nil
}

// contain keeps a panic within its request: it logs the stack, and tells the client with an error where nothing has
// been sent, with a broken connection otherwise.
func (b *RequestBridge) contain(w *clientWriter, r *http.Request) {
	reason := recover()
	if reason == nil {
		return
	}
	if reason == http.ErrAbortHandler {
		panic(reason)
	}
	b.options.Metrics.panicked()
	b.options.Logger.Error(r.Context(), "request panicked", slog.F("panic", fmt.Sprint(reason)), slog.F("stack", string(debug.Stack())))
	if w.started {
		panic(http.ErrAbortHandler)
	}
	apierror.ForPath(r.URL.Path).Write(w, r, &apierror.Error{Status: http.StatusInternalServerError, Text: "internal error"})
}
