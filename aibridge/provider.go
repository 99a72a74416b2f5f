package aibridge

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/observe"
	"github.com/coder/aibridged/internal/upstream"
)

// Provider is an upstream that the gateway relays to, as a value: its address, its routes and its key. It is made by
// [NewAnthropicProvider] or [NewOpenAIProvider], is not changed afterwards, and is safe for concurrent use. The zero
// value serves nothing.
type Provider struct {
	kind      string
	name      string
	disabled  bool
	base      *url.URL
	prefix    string // Taken off a route's path, since the base URL has it already.
	routes    []route
	shape     apierror.Shape
	key       string
	signs     bool // The transport authenticates the requests that go without a key.
	setKey    func(header http.Header, key string)
	keyHeader string // The header that is preferred for a caller's own credential.
	digests   bool
	spans     trace.SpanStartOption
	transport http.RoundTripper
	watched   bool   // The transport wants to know which interception a request belongs to.
	idle      func() // Closes the transport's idle connections.
	limits    Limits
	memory    *memory.Pool

	usageInStreams UsageInStreams
	refusing       *refusing
}

// ProviderOptions is what a provider needs beyond its name. Its zero value is the vendor's own address without a key.
type ProviderOptions struct {
	// BaseURL replaces the vendor's address. A path in it is kept. OpenAI's include /v1, Anthropic's do not.
	BaseURL string
	// Key is the credential for callers that bring none. Without it, only callers with a key of their own are served.
	Key string
	// Disabled keeps the name known: every request is answered with 503 and the reason.
	Disabled bool
	// UsageInStreams says whether to ask for the usage of streams whose clients do not. Empty means [UsageAsk].
	UsageInStreams UsageInStreams
	// Digests records the SHA-256 of both bodies beside their sizes, so that records can be compared with kept bytes.
	// It costs a third of what relaying a large request costs.
	Digests bool
	// Passthrough opens routes beyond those that the provider has by itself, for callers with a key of their own and
	// without. They are passed through and not recorded. Each entry is a method and a path below the provider's name:
	// "GET /v1/files" opens that path, "GET /v1/files/" everything below it. GET covers HEAD.
	Passthrough []string
	// Limits bounds requests to this provider.
	Limits Limits
	// Memory bounds what bodies take of the process's memory. Nil means that all providers of a pool, or of a
	// [ProviderSet] without a pool, that are given none share one: see [NewMemory].
	Memory *Memory
	// Transport carries the requests. Nil means a transport of the provider's own, with the limits in Limits. A
	// transport that is given here keeps its own limits for dialling and for the beginning of an answer.
	Transport http.RoundTripper
	// Observe, if set, returns a transport that looks on at what goes through another one: the provider's own, or Transport.
	// Of a provider whose Transport translates, it sees what clients send and get.
	Observe func(http.RoundTripper) http.RoundTripper
	// Signs says that Transport authenticates the requests of callers that bring no credential, so that Key stays empty.
	// These requests have a header by which the transports of this module know them, and which these remove.
	Signs bool
}

// providerKind is what the providers of one type have in common.
type providerKind struct {
	name    string
	baseURL string
	prefix  string
	routes  []route
	shape   apierror.Shape // Of the errors on all its paths.
	setKey  func(header http.Header, key string)
	// keyHeader is the header that the API prefers for a credential: where a caller brings two, this one goes upstream.
	keyHeader string
}

var providerName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// CheckProviderName returns an error that says why a name cannot be a provider's, or nil. A name is one segment of a
// path, so it may only have characters that cannot end or change that segment.
func CheckProviderName(name string) error {
	if !providerName.MatchString(name) {
		return fmt.Errorf("provider name %q: use lower-case letters and digits, in words joined by single hyphens", name)
	}
	return nil
}

func newProvider(kind providerKind, name string, options ProviderOptions) (Provider, error) {
	if err := CheckProviderName(name); err != nil {
		return Provider{}, err
	}
	if options.BaseURL == "" {
		options.BaseURL = kind.baseURL
	}
	base, err := parseBaseURL(options.BaseURL)
	if err != nil {
		return Provider{}, fmt.Errorf("provider %q: base URL: %w", name, err)
	}
	routes, err := kind.routesWith(options.Passthrough)
	if err != nil {
		return Provider{}, fmt.Errorf("provider %q: passthrough: %w", name, err)
	}
	switch options.UsageInStreams {
	case "", UsageAsk, UsageNever:
	default:
		return Provider{}, fmt.Errorf("provider %q: usage in streams is %q: use ask or never", name, options.UsageInStreams)
	}
	limits := options.Limits.withDefaults()
	transport := options.Transport
	if transport == nil {
		transport = upstream.NewTransport(upstream.Limits{
			Dial: limits.Dial, TLSHandshake: limits.TLSHandshake, ResponseHeader: limits.ResponseHeader,
		})
	}
	idle := idleCloser(transport)
	if options.Observe != nil {
		transport = options.Observe(transport)
	}
	return Provider{
		kind: kind.name, name: name, disabled: options.Disabled,
		base: base, prefix: kind.prefix, routes: routes, shape: kind.shape,
		key: options.Key, signs: options.Signs, setKey: kind.setKey, keyHeader: kind.keyHeader,
		digests:   options.Digests,
		spans:     spanAttributes(kind.name, name),
		transport: upstream.Idle(upstream.Guard(transport), limits.Idle),
		watched:   observe.Watches(transport),
		idle:      idle,
		limits:    limits,
		memory:    options.Memory.Pool(),

		usageInStreams: options.UsageInStreams,
		refusing:       &refusing{},
	}, nil
}

// parseBaseURL does not repeat the URL in its errors, since the URL may hold a credential.
func parseBaseURL(raw string) (*url.URL, error) {
	base, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it cannot be parsed; write it as https://host/path")
	case base.Scheme != "https" && base.Scheme != "http":
		return nil, fmt.Errorf("scheme %q: use https or http", base.Scheme)
	case base.Host == "":
		return nil, fmt.Errorf("it names no host; write it as https://host/path")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("it may hold a host and a path, but no user, query or fragment")
	}
	base.Path = strings.TrimRight(base.Path, "/")
	base.RawPath = strings.TrimRight(base.RawPath, "/")
	return base, nil
}

// Name returns the provider's name, the first part of the paths that it serves.
func (p Provider) Name() string { return p.name }

// Type returns the provider's type, for example "anthropic".
func (p Provider) Type() string { return p.kind }

// Disabled reports whether the provider refuses all requests.
func (p Provider) Disabled() bool { return p.disabled }

// HasKey reports whether the provider can serve callers without a key of their own.
func (p Provider) HasKey() bool { return p.key != "" || p.signs }

// upstreamURL returns the address of an escaped path that one of the provider's routes has matched.
func (p *Provider) upstreamURL(escapedPath, query string) *url.URL {
	target := *p.base
	escapedPath = strings.TrimPrefix(escapedPath, p.prefix)
	path, err := url.PathUnescape(escapedPath)
	if err != nil {
		path = escapedPath // It cannot happen: judgePath refuses such a path.
	}
	target.Path = p.base.Path + path
	target.RawPath = p.base.EscapedPath() + escapedPath
	target.RawQuery = query
	return &target
}

// idleCloser returns the function that closes a transport's idle connections, or one that does nothing.
func idleCloser(transport http.RoundTripper) func() {
	if closer, ok := transport.(interface{ CloseIdleConnections() }); ok {
		return closer.CloseIdleConnections
	}
	return func() {}
}
