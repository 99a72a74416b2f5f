// Package bedrock makes providers for Claude on Amazon Bedrock. It is a package of its own because it brings parts of AWS's
// SDK into the build.
//
//	provider, err := bedrock.NewProvider("bedrock", bedrock.Options{
//		Region:      "us-east-1",
//		Models:      map[string]string{"claude-sonnet-4-5": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"},
//		Credentials: bedrock.Credentials{Default: true},
//	})
//
// The bridge relays and records such a provider as any other one: all that differs is in the provider's transport, which
// signs requests and, for clients of the Messages API, turns these into requests for InvokeModel and the answers back.
package bedrock

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/upstream"
)

// API is one of the APIs by which Bedrock serves Claude.
type API string

// The APIs.
const (
	InvokeModel API = "invoke-model"
	// Mantle speaks the Messages API itself: bodies go through unchanged, and are only signed.
	Mantle API = "mantle"
)

// ErrDefaultChain says that AWS's default chain is wanted and cannot be used here, for example because it names a profile that is
// not there: it is not the options that are wrong.
var ErrDefaultChain = errors.New("AWS's default chain cannot be used here")

// Options is what a provider needs beyond its name. Region is required.
type Options struct {
	// Provider holds the options that all providers have. Its BaseURL replaces the region's address. Its Key is a Bedrock
	// API key, which takes the place of Credentials. Its Memory should be the one of the other providers: without one,
	// the copies of bodies that the transport makes have a bound of their own.
	Provider aibridge.ProviderOptions
	// Region is AWS's region, for example us-east-1.
	Region string
	// API is the API of the upstream. Empty means InvokeModel.
	API API
	// Models says under which id Bedrock has the models that clients of the Messages API ask for: a model's id, an
	// inference profile's id or an ARN. A model that is not in it goes upstream under the name that the client gave.
	Models map[string]string
	// Betas are flags of anthropic-beta that go upstream beside those that Bedrock is known to accept.
	Betas []string
	// Credentials are those that requests are signed with. Without them and without a key, only callers with a Bedrock
	// API key of their own are served.
	Credentials Credentials
	// ControlURL replaces the address of the control plane, which has the inference profiles. Empty means that of the
	// region or, if there is a BaseURL, that one.
	ControlURL string
}

// Credentials are AWS credentials. The zero value has none.
type Credentials struct {
	// Default takes them from where AWS's SDK finds them: the AWS_* variables of the environment, its files, the
	// container or the machine. Without it, nothing in the environment counts.
	Default bool
	// AccessKeyID, SecretAccessKey and, if they are temporary, SessionToken are credentials that do not change.
	AccessKeyID, SecretAccessKey, SessionToken string
	// RoleARN is a role that is assumed with these credentials, and which the requests are signed as.
	RoleARN string
	// ExternalID is what the role's owner may require.
	ExternalID string
	// STSURL replaces the address of the service that roles are assumed at.
	STSURL string
}

// isSet reports whether there are any.
func (c Credentials) isSet() bool { return c.Default || c.AccessKeyID != "" }

// check returns what is wrong with the credentials, or nil.
func (c Credentials) check() error {
	switch {
	case c.Default && c.AccessKeyID != "":
		return errors.New("both the default chain and an access key are set: choose one")
	case (c.AccessKeyID == "") != (c.SecretAccessKey == ""):
		return errors.New("an access key and its secret go together")
	case c.SessionToken != "" && c.AccessKeyID == "":
		return errors.New("a session token needs its access key")
	case c.RoleARN != "" && !c.isSet():
		return errors.New("a role is assumed with other credentials: set the default chain or an access key")
	case c.RoleARN == "" && (c.ExternalID != "" || c.STSURL != ""):
		return errors.New("an external id or an address of STS is for a role, and there is none")
	}
	return nil
}

var regionName = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+$`)

// NewProvider returns a provider of type "bedrock". Its error says which option is wrong and why.
func NewProvider(name string, options Options) (aibridge.Provider, error) {
	transport, err := newTransport(&options)
	if err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: %w", name, err)
	}
	options.Provider.Transport = transport
	options.Provider.Signs = options.Credentials.isSet()
	if options.API == Mantle {
		return aibridge.NewMantleProvider(name, options.Provider)
	}
	return aibridge.NewBedrockProvider(name, options.Provider)
}

// newTransport returns the transport that options describe. It sets the addresses in them.
func newTransport(options *Options) (*transport, error) {
	if !regionName.MatchString(options.Region) {
		return nil, fmt.Errorf("region %q: write one of AWS's, for example us-east-1", options.Region)
	}
	if err := options.Credentials.check(); err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if options.Provider.Key != "" && options.Credentials.isSet() {
		return nil, errors.New("both a Bedrock API key and AWS credentials are set: choose one")
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(options.Region, "cn-") {
		domain = "amazonaws.com.cn"
	}
	t := &transport{region: options.Region, service: "bedrock", models: options.Models, betas: options.Betas, signer: v4.NewSigner()}
	switch options.API {
	case "", InvokeModel:
		options.ControlURL = cmp.Or(options.ControlURL, options.Provider.BaseURL, "https://bedrock."+options.Region+"."+domain)
		options.Provider.BaseURL = cmp.Or(options.Provider.BaseURL, "https://bedrock-runtime."+options.Region+"."+domain)
		t.invokes = true
	case Mantle:
		options.Provider.BaseURL = cmp.Or(options.Provider.BaseURL, "https://bedrock-mantle."+options.Region+".api.aws/anthropic")
		t.service = "bedrock-mantle"
	default:
		return nil, fmt.Errorf("API %q: use %s or %s", options.API, InvokeModel, Mantle)
	}
	var err error
	if t.base, err = url.Parse(strings.TrimRight(options.Provider.BaseURL, "/")); err != nil {
		return nil, errors.New("base URL: it cannot be parsed; write it as https://host/path")
	}
	if t.control, err = url.Parse(strings.TrimRight(options.ControlURL, "/")); err != nil {
		return nil, errors.New("control URL: it cannot be parsed; write it as https://host/path")
	}
	limits := options.Provider.Limits
	network := options.Provider.Transport
	if network == nil {
		network = upstream.NewTransport(upstream.Limits{
			Dial: limits.Dial, TLSHandshake: limits.TLSHandshake, ResponseHeader: limits.ResponseHeader,
		})
	}
	t.network = network
	// The limit of silence is below the translation, which writes pings into a silent stream.
	t.next = upstream.Idle(upstream.Guard(network), limits.Idle)
	if options.Provider.Memory == nil {
		options.Provider.Memory = aibridge.NewMemory(0)
	}
	t.memory = options.Provider.Memory.Pool()
	if t.credentials, err = options.Credentials.source(options.Region); err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	return t, nil
}
