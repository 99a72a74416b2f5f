// Package vertex makes providers for Claude on Google's Vertex AI. It is a package of its own because it brings Google's
// authentication into the build.
//
//	provider, err := vertex.NewProvider("vertex", vertex.Options{
//		Project:     "my-project",
//		Region:      "global",
//		Credentials: vertex.Credentials{Default: true},
//	})
//
// The bridge relays and records such a provider as any other one: its transport adds an access token to each request and, for
// clients of the Messages API, moves the model from the body to the path.
package vertex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/upstream"
)

// scope is what the access tokens are for.
const scope = "https://www.googleapis.com/auth/cloud-platform"

// mostFetch is how long it may take to get an access token.
const mostFetch = 30 * time.Second

// ErrNoDefaultCredentials says that Google's default credentials are wanted and that there are none here: it is not the options
// that are wrong.
var ErrNoDefaultCredentials = errors.New("there are no default credentials here")

// Options is what a provider needs beyond its name. Region is required, and Project for clients of the Messages API.
type Options struct {
	// Provider holds the options that all providers have. Its BaseURL, which includes /v1, replaces the region's address.
	// Its Memory should be the one of the other providers: without one, the copies of bodies that the transport makes
	// have a bound of their own. Its Key is not used.
	Provider aibridge.ProviderOptions
	// Project is the Google Cloud project that requests of the Messages API are for. Clients that speak Vertex name it.
	Project string
	// Region is Vertex's region, for example us-east5, or one of global, us and eu.
	Region string
	// Models says under which name Vertex has the models that clients of the Messages API ask for. A model that is not in
	// it goes upstream under the name that the client gave.
	Models map[string]string
	// Credentials are those that access tokens are fetched with. Without them, only callers with a token of their own are
	// served.
	Credentials Credentials
}

// Credentials are Google credentials. The zero value has none.
type Credentials struct {
	// Default takes them from where Google's libraries find them: the file that GOOGLE_APPLICATION_CREDENTIALS names,
	// gcloud's, or the machine. Without it, nothing in the environment counts.
	Default bool
	// ServiceAccount is the JSON of a service account's key.
	ServiceAccount []byte
}

func (c Credentials) isSet() bool { return c.Default || len(c.ServiceAccount) > 0 }

// source returns where access tokens come from, or nil if there are no credentials. Network carries what fetches them for a
// service account.
func (c Credentials) source(network http.RoundTripper) (oauth2.TokenSource, error) {
	ctx := context.Background()
	switch {
	case c.Default && len(c.ServiceAccount) > 0:
		return nil, errors.New("both the default credentials and a service account are set: choose one")
	case c.Default:
		found, err := google.FindDefaultCredentials(ctx, scope)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoDefaultCredentials, err)
		}
		return found.TokenSource, nil
	case len(c.ServiceAccount) > 0:
		ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: network, Timeout: mostFetch})
		found, err := google.CredentialsFromJSONWithType(ctx, c.ServiceAccount, google.ServiceAccount, scope)
		if err != nil {
			return nil, errors.New("the service account's key cannot be read: it must be the JSON file that Google made") // The cause may quote it.
		}
		return found.TokenSource, nil
	}
	return nil, nil
}

var (
	regionName  = regexp.MustCompile(`^[a-z]+(-[a-z]+[0-9]+)?$`)
	projectName = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z0-9-]+$`) // An id, or a number.
)

// NewProvider returns a provider of type "vertex". Its error says which option is wrong and why.
func NewProvider(name string, options Options) (aibridge.Provider, error) {
	transport, err := newTransport(&options)
	if err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: %w", name, err)
	}
	options.Provider.Transport = transport
	options.Provider.Signs = options.Credentials.isSet()
	return aibridge.NewVertexProvider(name, options.Provider)
}

// newTransport returns the transport that options describe. It sets the address in them.
func newTransport(options *Options) (*transport, error) {
	switch {
	case !regionName.MatchString(options.Region):
		return nil, fmt.Errorf("region %q: write one of Vertex's, for example us-east5 or global", options.Region)
	case options.Project != "" && !projectName.MatchString(options.Project):
		return nil, fmt.Errorf("project %q: write its id or number", options.Project)
	case options.Provider.Key != "":
		return nil, errors.New("a key is set: Vertex takes the default credentials or a service account")
	}
	options.Provider.BaseURL = cmp.Or(options.Provider.BaseURL, "https://"+host(options.Region)+"/v1")
	base, err := url.Parse(strings.TrimRight(options.Provider.BaseURL, "/"))
	if err != nil {
		return nil, errors.New("base URL: it cannot be parsed; write it as https://host/path")
	}
	limits := options.Provider.Limits
	network := options.Provider.Transport
	if network == nil {
		network = upstream.NewTransport(upstream.Limits{
			Dial: limits.Dial, TLSHandshake: limits.TLSHandshake, ResponseHeader: limits.ResponseHeader,
		})
	}
	if options.Provider.Memory == nil {
		options.Provider.Memory = aibridge.NewMemory(0)
	}
	t := &transport{
		base: base, network: network, next: upstream.Idle(network, limits.Idle), project: options.Project, region: options.Region, models: options.Models,
		memory: options.Provider.Memory.Pool(),
		// It is no transport of the provider's: those may copy what passes to files, and here the tokens pass.
		tokens: upstream.NewTransport(upstream.Limits{ResponseHeader: mostFetch}),
	}
	if t.source, err = options.Credentials.source(t.tokens); err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	return t, nil
}

// host returns the host of a region.
func host(region string) string {
	switch region {
	case "global":
		return "aiplatform.googleapis.com"
	case "us", "eu":
		return "aiplatform." + region + ".rep.googleapis.com"
	}
	return region + "-aiplatform.googleapis.com"
}
