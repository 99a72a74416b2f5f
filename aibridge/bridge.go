package aibridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/coder/aibridged/aibridge/mcp"
	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/ingress"
)

// disabledRetry is how long a client is told to wait before it asks a disabled provider again: an operator takes
// minutes, not seconds, to enable it.
const disabledRetry = time.Minute

// mostParameters is how many parameters a query may have: ReverseProxy would pass on nothing of a longer one.
const mostParameters = 10_000

// BridgeOptions are the options of a bridge. The zero value works.
type BridgeOptions struct {
	// APIKeyID is the id of the gateway's API key that the requests came with. It is recorded.
	APIKeyID string
	// Logger gets one line at the end of each interception, and one for each request that is refused or goes wrong.
	Logger slog.Logger
	// Tracer gets the spans. Nil means none.
	Tracer trace.Tracer
	// Metrics counts. Nil means nothing is counted.
	Metrics *Metrics
	// Tools are the initiator's MCP tools. Nil means none. The bridge neither initialises them nor shuts them down.
	Tools mcp.ServerProxier
	// ToolLimits bounds what these tools take of a request.
	ToolLimits ToolLimits
	// Conversations remembers what clients have not seen of their conversations: it is shared by all bridges. Nil means one
	// of the bridge's own.
	Conversations *Conversations
}

// RequestBridge relays the requests of one initiator and records them. It is immutable and safe for concurrent use, and
// holds nothing that must be closed.
type RequestBridge struct {
	providers *ProviderSet
	recorder  Recorder
	options   BridgeOptions

	conversations *Conversations // Nil: there are no tools.
}

// NewRequestBridge returns a bridge to providers that records into recorder.
func NewRequestBridge(providers *ProviderSet, recorder Recorder, options BridgeOptions) *RequestBridge {
	if options.Tracer == nil {
		options.Tracer = noop.NewTracerProvider().Tracer("aibridge")
	}
	if options.Conversations == nil && options.Tools != nil {
		options.Conversations = NewConversations(nil)
	}
	return &RequestBridge{providers: providers, recorder: recorder, options: options, conversations: options.Conversations}
}

// ServeHTTP serves /<provider>/<path>. The request's context carries its [Actor]; a request without one would be recorded
// for nobody, and is refused with status 400. The bridge writes its own errors in the shape of the API that was called.
func (b *RequestBridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guarded := newClientWriter(w, r)
	defer b.contain(guarded, r)
	ingress.EndConnection(w, r)

	tokens := CallerFromContext(r.Context()).tokens()
	r = withoutTokens(r, tokens)
	to, err := b.destination(r, tokens)
	if err != nil {
		refusal := refusal(err, tokens)
		// net/http waits for the rest of an unread body before it answers; the deadline bounds that wait.
		_ = guarded.controller.SetReadDeadline(time.Now().Add(Limits{}.withDefaults().RequestBodyIdle))
		reason := error(refusal)
		if unsupported, ok := errors.AsType[unsupported](err); ok {
			reason = unsupported // Without the path.
		}
		b.tellRefused(r.Context(), r, to.provider, refusal.Status, reason)
		shape := apierror.ForPath(r.URL.Path)
		if to.provider != nil {
			shape = to.provider.shapeOf(to.path)
		}
		shape.Write(w, r, refusal)
		return
	}
	guarded.limit = to.provider.limits.Write
	if to.route.format == nil {
		b.passThrough(guarded, r, to)
		return
	}
	b.intercept(guarded, r, to)
}

// tellRefused writes a line to the log about a request that is refused and has no interception. Provider may be nil.
func (b *RequestBridge) tellRefused(ctx context.Context, r *http.Request, provider *Provider, status int, reason error) {
	fields := make([]slog.Field, 0, 7)
	fields = append(fields, slog.F("method", credential.Method(r.Method)), slog.F("status", status), slog.F("remote", r.RemoteAddr))
	if id := CallerFromContext(ctx).Actor.ID; id != "" {
		fields = append(fields, slog.F("initiator_id", id), slog.F("api_key_id", b.options.APIKeyID))
	}
	if provider != nil {
		fields = append(fields, slog.F("provider", provider.name))
	}
	b.options.Logger.Info(ctx, "request refused", append(fields, slog.Error(logged(reason)))...)
}

// destination returns where a request goes, or an error that says why it is refused. It reads nothing of the body.
func (b *RequestBridge) destination(r *http.Request, tokens credential.Tokens) (destination, error) {
	if actor, _ := ActorFromContext(r.Context()); actor.ID == "" {
		return destination{}, &apierror.Error{Status: http.StatusBadRequest, Text: "no actor: nobody said who sends this request"}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
	default:
		return destination{}, &apierror.Error{Status: http.StatusMethodNotAllowed, Text: "method not supported"}
	}
	if err := ingress.JudgeHost(r); err != nil {
		return destination{}, &apierror.Error{Status: http.StatusBadRequest, Text: err.Error()}
	}
	if r.URL.Host != "" || r.URL.Scheme != "" {
		return destination{}, &apierror.Error{Status: http.StatusBadRequest, Text: "send a path, not an absolute URL: this is no forward proxy"}
	}
	if strings.Count(r.URL.RawQuery, "&") >= mostParameters {
		return destination{}, &apierror.Error{Status: http.StatusBadRequest, Text: "query has too many parameters"}
	}
	if tokens.In(r.URL.EscapedPath()) {
		return destination{}, &apierror.Error{Status: http.StatusBadRequest, Text: "path not accepted: it holds a token of the gateway"}
	}
	to, err := b.providers.find(r)
	if _, isUnsupported := errors.AsType[unsupported](err); err != nil && !isUnsupported {
		return to, err
	}
	if to.provider != nil && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return to, &apierror.Error{Status: http.StatusUpgradeRequired, Text: "WebSocket is not served here: use HTTP"}
	}
	return to, err
}

// contain keeps a panic within its request: it logs the stack and answers with an error, or breaks the answer off if it
// has begun. All that breaks an answer off, on any route, panics with [http.ErrAbortHandler] and comes by here.
func (b *RequestBridge) contain(w *clientWriter, r *http.Request) {
	reason := recover()
	if reason == nil {
		return
	}
	if reason == http.ErrAbortHandler {
		visiblyBroken(w, r)
		panic(reason)
	}
	b.options.Metrics.panicked()
	tokens := CallerFromContext(r.Context()).tokens()
	b.options.Logger.Error(r.Context(), "request panicked", slog.F("panic", tokens.Redact(fmt.Sprint(reason))), slog.F("stack", string(debug.Stack())))
	if w.started {
		visiblyBroken(w, r)
		panic(http.ErrAbortHandler)
	}
	apierror.ForPath(r.URL.Path).Write(w, r, &apierror.Error{Status: http.StatusInternalServerError, Text: "internal error"})
}
