package aibridge

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/breaker"
	"github.com/coder/aibridged/internal/keys"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/observe"
	"github.com/coder/aibridged/internal/upstream"
)

// Provider is an upstream that the gateway relays to, as a value: its address, its routes and its keys. It is made by a
// constructor such as [NewAnthropicProvider], is not changed afterwards, and is safe for concurrent use. The zero value
// serves nothing.
type Provider struct {
	kind      string
	name      string
	disabled  bool
	base      *url.URL
	prefix    string // Taken off a route's path, since the base URL has it already.
	routes    []route
	shape     apierror.Shape
	shapes    []pathShape
	keys      []Key
	signs     bool // The transport authenticates the requests that go without a key.
	setKey    func(header http.Header, key Key)
	keyHeader string // The header that is preferred for a caller's own credential.
	locate    func(path, query, model string) (string, string, error)
	complete  func(header http.Header, of sentRequest)
	silent    bool // See providerKind, also for the next one.
	rewrites  bool
	headers   []extraHeader
	echoes    echoes
	actor     bool // Requests tell who they are made for.
	breaker   BreakerOptions
	retries   RetryOptions
	limited   *Admission                  // Nil: all requests are let in.
	pool      *keys.Pool                  // Nil: the provider has not joined an [Upstreams] yet.
	breakers  map[string]*breaker.Breaker // By the path of a recorded route.
	digests   bool
	spans     providerSpans
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
	// Key is the credential for callers that bring none. Without it and Keys, only callers with a key of their own are
	// served.
	Key string
	// Keys are further keys. A request goes to the next one if a key is refused: because it has reached a limit, is not
	// valid, or has no credit left. A conversation stays on its key while that is ready.
	Keys []Key
	// Headers are sent with each request, in the place of what the client sends under their names. A header that is only
	// for the hop to the upstream, that tells who asks, or that carries a credential in the APIs of providers cannot be set.
	Headers map[string]string
	// ActorHeaders tells the upstream who a request is made for: [HeaderActorID], and X-Ai-Bridge-Actor-Metadata-… for each
	// text in the actor's metadata. A client cannot send these by itself, set or not.
	ActorHeaders bool
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
	// Breaker says when requests to an upstream that fails are refused.
	Breaker BreakerOptions
	// Retries says how often a request is sent again that the upstream did not take.
	Retries RetryOptions
	// Admission limits recorded requests, over all providers that have it. Nil: there are no limits.
	Admission *Admission
	// Upstreams has what is known of the provider's keys and breakers. Nil means that all providers of a pool, also those
	// that replace others later, or of a [ProviderSet] without a pool, that are given none share one.
	Upstreams *Upstreams
	// Memory bounds what bodies take of the process's memory. Nil means that all providers of a pool, or of a
	// [ProviderSet] without a pool, that are given none share one: see [NewMemory].
	Memory *Memory
	// Transport carries the requests. Nil means a transport of the provider's own, with the limits in Limits. A
	// transport that is given here keeps its own limits for dialling and for the beginning of an answer.
	Transport http.RoundTripper
	// Observe, if set, returns a transport that looks on at what goes through another one: the provider's own, or Transport.
	// Of a provider whose Transport translates, it sees what clients send and get.
	Observe func(http.RoundTripper) http.RoundTripper
	// Signs says that Transport authenticates the requests of callers that bring no credential, so that there are no keys.
	// These requests have a header by which the transports of this module know them, and which these remove.
	Signs bool
}

// Key is a key of a provider.
type Key struct {
	// Secret is the key itself.
	Secret string
	// Account names whose key it is. What an upstream stores or encrypts for an account is of use with the keys of that
	// account only. Empty: it is the only key of its account.
	Account string
}

// BreakerOptions say when a breaker, of which each recorded route of a provider has one, refuses requests with 503 and
// Retry-After. What fails is a request without an answer, one with a status from 500 on, and one whose answer breaks off.
// Other statuses say nothing, and clients that leave. A zero field means its default.
type BreakerOptions struct {
	// Failures is how many requests must fail within Window, and at least half of all, or all of twice as many in a row: 10.
	Failures int
	// Window is 30 s.
	Window time.Duration
	// Open is how long requests are refused before one tries the upstream again: 10 s.
	Open time.Duration
	// Off says that there is no breaker.
	Off bool
}

// providerKind is what the providers of one type have in common.
type providerKind struct {
	name    string
	baseURL string // Empty: each provider has one of its own.
	prefix  string
	routes  []route
	shape   apierror.Shape // Of the errors on all its paths, but for those of shapes.
	shapes  []pathShape
	setKey  func(header http.Header, key Key)
	// keyHeader is the header that the API prefers for a credential: where a caller brings two, this one goes upstream.
	keyHeader string
	// locate returns where a request goes, below the base URL, by the escaped path and the query that it came with and the
	// model that it names. It fails with an [*apierror.Error]. Nil: it goes where it came to, without prefix.
	locate func(path, query, model string) (string, string, error)
	// complete adds headers that the upstream wants and that not all clients send. Nil: there are none.
	complete func(header http.Header, of sentRequest)
	// silent says that the upstream lets minutes pass within a stream without a ping, so that the gateway makes its own.
	silent bool
	// rewrites says that the transport makes other requests of some, and tells what of that decides the price.
	rewrites bool
}

// pathShape says that the paths which begin so are of another API than a provider's others, with errors of another shape.
type pathShape struct {
	begins string
	shape  apierror.Shape
}

// shapeOf returns the shape of the errors on a path below the provider's name, whether the provider serves it or not.
func (p *Provider) shapeOf(path string) apierror.Shape {
	for _, of := range p.shapes {
		if strings.HasPrefix(path, of.begins) {
			return of.shape
		}
	}
	return p.shape
}

// sentRequest is what [providerKind].complete may know of a request.
type sentRequest struct {
	later bool     // The gateway goes on by itself, after calls of its own tools.
	body  outgoing // JSON, or none if the request is passed through or its body is coded.
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
	if options.BaseURL == "" {
		return Provider{}, fmt.Errorf("provider %q: base URL: type %s has no address of its own: write the one of yours", name, kind.name)
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
	headers, err := extraHeaders(options.Headers)
	if err != nil {
		return Provider{}, fmt.Errorf("provider %q: headers: %w", name, err)
	}
	keys, err := allKeys(options)
	if err != nil {
		return Provider{}, fmt.Errorf("provider %q: keys: %w", name, err)
	}
	retries, err := options.Retries.withDefaults()
	if err != nil {
		return Provider{}, fmt.Errorf("provider %q: retries: %w", name, err)
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
	made := Provider{
		kind: kind.name, name: name, disabled: options.Disabled,
		base: base, prefix: kind.prefix, routes: routes, shape: kind.shape, shapes: kind.shapes,
		keys: keys, signs: options.Signs, setKey: kind.setKey, keyHeader: kind.keyHeader, locate: kind.locate, complete: kind.complete, silent: kind.silent,
		rewrites: kind.rewrites,
		headers:  headers, echoes: echoesOf(keys, headers), actor: options.ActorHeaders,
		breaker: options.Breaker, retries: retries, limited: options.Admission,
		digests:   options.Digests,
		spans:     newProviderSpans(kind.name, name),
		transport: upstream.Idle(upstream.Guard(transport), limits.Idle),
		watched:   observe.Watches(transport),
		idle:      idle,
		limits:    limits,
		memory:    options.Memory.Pool(),

		usageInStreams: options.UsageInStreams,
		refusing:       &refusing{},
	}
	if options.Upstreams != nil {
		made.join(options.Upstreams)
	}
	return made, nil
}

// allKeys returns the keys in options. Its errors repeat none of them.
func allKeys(options ProviderOptions) ([]Key, error) {
	var all []Key
	if options.Key != "" {
		all = append(all, Key{Secret: options.Key})
	}
	for i, key := range append(all, options.Keys...) {
		switch {
		case key.Secret == "":
			return nil, fmt.Errorf("key %d is empty", i+1)
		case !isHeaderValue(key.Secret), !isHeaderValue(key.Account):
			return nil, fmt.Errorf("key %d or its account has a line break or another control character", i+1)
		}
	}
	return append(all, options.Keys...), nil
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
func (p Provider) HasKey() bool { return len(p.keys) > 0 || p.signs }

// upstreamURL returns the address for a request to an escaped path that one of the provider's routes has matched. Model is
// the model that it names, if that is known. It fails with an [*apierror.Error].
func (p *Provider) upstreamURL(escapedPath, query, model string) (*url.URL, error) {
	if p.locate != nil {
		var err error
		if escapedPath, query, err = p.locate(escapedPath, query, model); err != nil {
			return nil, err
		}
	}
	target := *p.base
	escapedPath = strings.TrimPrefix(escapedPath, p.prefix)
	path, err := url.PathUnescape(escapedPath)
	if err != nil {
		path = escapedPath // It cannot happen: judgePath refuses such a path.
	}
	target.Path = p.base.Path + path
	target.RawPath = p.base.EscapedPath() + escapedPath
	target.RawQuery = query
	return &target, nil
}

// idleCloser returns the function that closes a transport's idle connections, or one that does nothing.
func idleCloser(transport http.RoundTripper) func() {
	if closer, ok := transport.(interface{ CloseIdleConnections() }); ok {
		return closer.CloseIdleConnections
	}
	return func() {}
}
