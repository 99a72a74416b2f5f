package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coder/aibridged/aibridge"
)

// providerConfig describes one provider. Its tags are for the database as well as for the file: the YAML package reads them
// as its own.
type providerConfig struct {
	Name     string      `json:"name,omitempty"`
	Type     string      `json:"type,omitempty"`
	BaseURL  string      `json:"base_url,omitempty"`
	Keys     []keyConfig `json:"keys,omitempty"`
	Disabled bool        `json:"disabled,omitempty"`
	// Passthrough are entries of [aibridge.ProviderOptions.Passthrough].
	Passthrough []string `json:"passthrough,omitempty"`
	// UsageInStreams is [aibridge.ProviderOptions.UsageInStreams].
	UsageInStreams aibridge.UsageInStreams `json:"usage_in_streams,omitempty"`
	// Headers are [aibridge.ProviderOptions.Headers]. A value may be a reference, as a key is.
	Headers map[string]string `json:"headers,omitempty"`
	// ActorHeaders is [aibridge.ProviderOptions.ActorHeaders].
	ActorHeaders bool `json:"actor_headers,omitempty"`
	// Retries are [aibridge.ProviderOptions.Retries].
	Retries retriesConfig `json:"retries"`
	// APIVersion and Deployments are those of [aibridge.AzureOptions].
	APIVersion  string            `json:"api_version,omitempty"`
	Deployments map[string]string `json:"deployments,omitempty"`
	// Bedrock and Vertex are the settings of their types.
	Bedrock *bedrockConfig `json:"bedrock,omitempty"`
	Vertex  *vertexConfig  `json:"vertex,omitempty"`

	// given are secrets by their references, from a control plane that is elsewhere. Nil: they are looked up here.
	given map[string]string
}

// keyConfig is a reference to a key, and whose key it is. In the file, it may be the reference alone.
type keyConfig struct {
	Key     string `json:"key"`
	Account string `json:"account,omitempty"`

	// literal is the key itself. No file can set it: it is one that the database keeps or is to keep.
	literal string
}

// UnmarshalYAML implements the interface of the YAML package.
func (k *keyConfig) UnmarshalYAML(unmarshal func(any) error) error {
	if unmarshal(&k.Key) == nil {
		return nil
	}
	var both struct {
		Key     string `json:"key"`
		Account string `json:"account,omitempty"`
	}
	if err := unmarshal(&both); err != nil {
		return err
	}
	k.Key, k.Account = both.Key, both.Account
	return nil
}

// breakerConfig is [aibridge.BreakerOptions].
type breakerConfig struct {
	Failures int           `yaml:"failures"`
	Window   time.Duration `yaml:"window"`
	Open     time.Duration `yaml:"open"`
	Off      bool          `yaml:"off"`
}

// check refuses what is below zero. Zero is the default.
func (b breakerConfig) check() error {
	if b.Failures < 0 || b.Window < 0 || b.Open < 0 {
		return errors.New("failures, window and open must not be negative")
	}
	return nil
}

// admissionConfig is [aibridge.AdmissionLimits].
type admissionConfig struct {
	Concurrent     int `yaml:"concurrent"`
	PerMinute      int `yaml:"per_minute"`
	UserConcurrent int `yaml:"user_concurrent"`
	UserPerMinute  int `yaml:"user_per_minute"`
}

// check refuses what is below zero. Zero is no limit.
func (a admissionConfig) check() error {
	if min(a.Concurrent, a.PerMinute, a.UserConcurrent, a.UserPerMinute) < 0 {
		return errors.New("a limit must not be negative; 0 is none")
	}
	return nil
}

// constructor makes the providers of a type.
type constructor func(name string, options aibridge.ProviderOptions) (aibridge.Provider, error)

// constructors make the providers of each type.
func (p providerConfig) constructors() map[string]constructor {
	return map[string]constructor{
		"anthropic":     aibridge.NewAnthropicProvider,
		"azure":         p.azure,
		"bedrock":       p.newBedrock,
		"chatgpt":       aibridge.NewChatGPTProvider,
		"copilot":       aibridge.NewCopilotProvider,
		"google":        aibridge.NewGoogleProvider,
		"openai":        aibridge.NewOpenAIProvider,
		"openai-compat": aibridge.NewOpenAICompatibleProvider,
		"openrouter":    aibridge.NewOpenRouterProvider,
		"vercel":        aibridge.NewVercelProvider,
		"vertex":        p.newVertex,
	}
}

func (p providerConfig) azure(name string, options aibridge.ProviderOptions) (aibridge.Provider, error) {
	return aibridge.NewAzureProvider(name, aibridge.AzureOptions{ProviderOptions: options, APIVersion: p.APIVersion, Deployments: p.Deployments})
}

// errUnknownType is the error of a provider whose type this program does not know. Another version may know it, so the
// others are served.
var errUnknownType = errors.New("not known")

// provider makes the provider that p describes. Shared holds the options that all providers have in common.
func (p providerConfig) provider(shared aibridge.ProviderOptions) (aibridge.Provider, error) {
	all := p.constructors()
	construct, ok := all[p.Type]
	switch {
	case "/"+p.Name+"/" == consolePath:
		return aibridge.Provider{}, fmt.Errorf("provider name %q: the page is at %s: use another one", p.Name, consolePath)
	case !ok:
		if err := aibridge.CheckProviderName(p.Name); err != nil {
			return aibridge.Provider{}, err
		}
		return aibridge.Provider{}, fmt.Errorf("provider %q: type %q is %w: use one of %s", p.Name, p.Type, errUnknownType, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	case p.Type != "azure" && (p.APIVersion != "" || len(p.Deployments) > 0):
		return aibridge.Provider{}, fmt.Errorf("provider %q: api_version and deployments are for providers of type azure", p.Name)
	}
	if err := p.checkClouds(); err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: %w", p.Name, err)
	}
	var err error
	if shared.Keys, err = p.keys(); err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: keys: %w", p.Name, err)
	}
	if shared.Headers, err = p.headers(); err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: headers: %w", p.Name, err)
	}
	shared.BaseURL, shared.Disabled, shared.ActorHeaders = p.BaseURL, p.Disabled, p.ActorHeaders
	shared.Passthrough, shared.UsageInStreams, shared.Retries = p.Passthrough, p.UsageInStreams, p.Retries.options()
	return construct(p.Name, shared)
}

// keys returns the provider's keys.
func (p providerConfig) keys() ([]aibridge.Key, error) {
	if p.Disabled {
		return nil, nil
	}
	keys := make([]aibridge.Key, 0, len(p.Keys))
	for _, configured := range p.Keys {
		secret, err := configured.literal, error(nil)
		if secret == "" {
			secret, err = p.secretOf(configured.Key, "key")
		}
		switch {
		case errors.Is(err, errNoReference):
			return nil, fmt.Errorf("keep keys out of this file: %w", err)
		case err != nil:
			return nil, err
		}
		keys = append(keys, aibridge.Key{Secret: secret, Account: configured.Account})
	}
	return keys, nil
}

// headers returns the provider's headers, with what their references lead to.
func (p providerConfig) headers() (map[string]string, error) {
	headers := make(map[string]string, len(p.Headers))
	for name, value := range p.Headers {
		if isReference(value) {
			var err error
			if value, err = p.secretOf(value, "value"); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		headers[name] = value
	}
	return headers, nil
}

// secretOf returns the secret that a reference of the provider stands for.
func (p providerConfig) secretOf(reference, kind string) (string, error) {
	if p.given != nil {
		secret, known := p.given[reference]
		if !known {
			return "", fmt.Errorf("the control plane has not sent the %s", kind)
		}
		return secret, nil
	}
	if kind == kindAccount {
		return documentOf(reference, kind)
	}
	return secretOf(reference, kind)
}
