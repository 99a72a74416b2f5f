package mcp

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	defaultConnectTimeout = 5 * time.Second
	defaultCallTimeout    = time.Minute
)

// ProxyOptions describes one server, as one user may use it. ID and URL are required; the zero value of anything else
// works.
type ProxyOptions struct {
	// ID is the server's name. It is part of its tools' IDs.
	ID string
	// URL is the server's address, http or https.
	URL string
	// Headers go with every request to the server, and nowhere else. They hold the user's credentials.
	Headers map[string]string
	// Reauthorize returns new Headers after the server has refused the present ones. Calls that wait for new Headers
	// share one Reauthorize. Nil means that there are no others.
	Reauthorize func(ctx context.Context) (map[string]string, error)
	// Allow and Deny choose tools by the server's own names for them. A tool is used if Allow is nil or matches, and
	// Deny is nil or does not match.
	Allow, Deny *regexp.Regexp
	// LeftOut is called for each tool of a list that is not used, with its name, as far as it can be read, and the reason:
	// during Init, and later when the list is read again. It must be safe for concurrent use, and must not block. Nil means
	// that nobody wants to know.
	LeftOut func(tool string, why error)
	// ConnectTimeout bounds connecting and listing, together; 5 s if zero.
	ConnectTimeout time.Duration
	// CallTimeout bounds each call; 60 s if zero.
	CallTimeout time.Duration
	// ResultBytes bounds the texts and images of each result, together; 1 MiB if zero.
	ResultBytes int
	// Transport carries the requests. If nil, the proxy makes its own, which ignores the environment and refuses
	// link-local addresses.
	Transport http.RoundTripper
	Logger    slog.Logger
	// Tracer makes a span of each attempt to connect. Nil means no spans.
	Tracer trace.Tracer
}

// StreamableHTTPProxy is a [ServerProxier] for one server, over streamable HTTP.
type StreamableHTTPProxy struct {
	options ProxyOptions // With its defaults.
	url     *url.URL
	server  Tool // The fields that all its tools share.
	// idle closes the idle connections of the proxy's own transport; it does nothing if the transport is the caller's.
	idle func()

	life       context.Context // Of all background work.
	end        context.CancelCauseFunc
	background sync.WaitGroup
	catalog    atomic.Pointer[catalog] // Stored under mu.

	// mu guards what follows. No holder of mu blocks.
	mu          sync.Mutex
	closed      bool
	parting     context.Context // Shutdown's. Nil before it.
	session     *session        // Nil until connected.
	attempt     *attempt        // To connect; nil when there is none.
	credentials credentials
	refused     bool // The server refused the credentials.
	stale       bool // The server's tools may have changed.
	refreshing  bool
}

var _ ServerProxier = (*StreamableHTTPProxy)(nil)

// NewStreamableHTTPProxy returns a proxy that is not connected yet. Its only error is [ErrRefusedURL].
func NewStreamableHTTPProxy(options ProxyOptions) (*StreamableHTTPProxy, error) {
	server, err := parseServerURL(options.URL)
	if err != nil {
		return nil, fmt.Errorf("MCP server %q: %w", options.ID, err)
	}
	p := &StreamableHTTPProxy{options: options, url: server, idle: func() {}}
	p.server = Tool{ServerID: options.ID, ServerURL: withoutQuery(server)}
	p.credentials = newCredentials(options.Headers, server)
	if options.ConnectTimeout == 0 {
		p.options.ConnectTimeout = defaultConnectTimeout
	}
	if options.CallTimeout == 0 {
		p.options.CallTimeout = defaultCallTimeout
	}
	if options.ResultBytes == 0 {
		p.options.ResultBytes = defaultResultBytes
	}
	if options.Tracer == nil {
		p.options.Tracer = noop.NewTracerProvider().Tracer("")
	}
	if options.LeftOut == nil {
		p.options.LeftOut = func(string, error) {}
	}
	if options.Transport == nil {
		own := newTransport()
		p.options.Transport, p.idle = own, own.CloseIdleConnections
	}
	p.options.Logger = options.Logger.With(slog.F("mcp_server", options.ID))
	p.life, p.end = context.WithCancelCause(context.Background())
	p.catalog.Store(&catalog{})
	return p, nil
}

// Init implements [ServerProxier].
func (p *StreamableHTTPProxy) Init(ctx context.Context) error {
	return p.renew(ctx, nil, false)
}

// Tools implements [ServerProxier].
func (p *StreamableHTTPProxy) Tools() []Tool { return p.catalog.Load().tools }

// Shutdown implements [ServerProxier].
func (p *StreamableHTTPProxy) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	s := p.session
	if !p.closed {
		p.closed, p.parting, p.session = true, ctx, nil
	}
	p.catalog.Store(&catalog{})
	p.mu.Unlock()

	p.end(ErrClosed)
	var err error
	if s != nil {
		s.uses.Wait()
		err = s.close(ctx)
	}
	p.background.Wait()
	p.idle()
	return err
}

// farewell returns the context for telling the server that a session has ended. It does not end with p.life, or the
// server would keep the session.
func (p *StreamableHTTPProxy) farewell() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.parting
	}
	return context.WithoutCancel(p.life)
}

// key tells a user's servers apart.
func (p *StreamableHTTPProxy) key() string { return p.server.ServerID + " " + p.server.ServerURL }

// choice returns how Allow and Deny choose tools.
func (p *StreamableHTTPProxy) choice() choice {
	return choice{refuse: p.refuse, leftOut: p.options.LeftOut}
}

// refuse returns why Allow and Deny do not let the tool of that name be used, or nil.
func (p *StreamableHTTPProxy) refuse(name string) error {
	allow, deny := p.options.Allow, p.options.Deny
	switch {
	case deny != nil && deny.MatchString(name):
		return errDenied
	case allow != nil && !allow.MatchString(name):
		return errNotAllowed
	}
	return nil
}

// failure returns err without secrets, as callers and logs may see it.
func (p *StreamableHTTPProxy) failure(operation string, known secrets, err error) error {
	return known.failure(fmt.Sprintf("MCP server %q: %s", p.options.ID, operation), err)
}
