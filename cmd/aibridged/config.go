package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/coder/aibridged/aibridge"
)

// config is the content of the configuration file. Without a file, the providers come from the environment.
type config struct {
	Listen         string            `yaml:"listen"`
	AdminListen    string            `yaml:"admin_listen"`
	AdminHosts     []string          `yaml:"admin_hosts"`
	MaxConnections int               `yaml:"max_connections"`
	CORSOrigins    []string          `yaml:"cors_origins"`
	Providers      []providerConfig  `yaml:"providers"`
	Limits         limitsConfig      `yaml:"limits"`
	Prices         []priceConfig     `yaml:"prices"`
	MCPServers     []mcpServerConfig `yaml:"mcp_servers"`
	Tools          toolsConfig       `yaml:"tools"`
}

type providerConfig struct {
	Name     string   `yaml:"name"`
	Type     string   `yaml:"type"`
	BaseURL  string   `yaml:"base_url"`
	Keys     []string `yaml:"keys"`
	Disabled bool     `yaml:"disabled"`
	// Passthrough are entries of [aibridge.ProviderOptions.Passthrough].
	Passthrough []string `yaml:"passthrough"`
	// UsageInStreams is [aibridge.ProviderOptions.UsageInStreams].
	UsageInStreams aibridge.UsageInStreams `yaml:"usage_in_streams"`

	// literalKey is the key of demo, which belongs to no account. No file can set it.
	literalKey string
}

type limitsConfig struct {
	RequestBody    int64         `yaml:"request_body"`
	Dial           time.Duration `yaml:"dial"`
	TLSHandshake   time.Duration `yaml:"tls_handshake"`
	ResponseHeader time.Duration `yaml:"response_header"`
	Idle           time.Duration `yaml:"idle"`
	Write          time.Duration `yaml:"write"`
}

func (l limitsConfig) limits() aibridge.Limits {
	return aibridge.Limits{
		RequestBody: l.RequestBody, Dial: l.Dial, TLSHandshake: l.TLSHandshake,
		ResponseHeader: l.ResponseHeader, Idle: l.Idle, Write: l.Write,
	}
}

// check refuses a limit below zero. Zero is the default.
func (l limitsConfig) check() error {
	if l.RequestBody < 0 {
		return fmt.Errorf("request_body is %d: it must not be negative", l.RequestBody)
	}
	for _, limit := range []struct {
		field string
		value time.Duration
	}{
		{"dial", l.Dial}, {"tls_handshake", l.TLSHandshake}, {"response_header", l.ResponseHeader}, {"idle", l.Idle}, {"write", l.Write},
	} {
		if limit.value < 0 {
			return fmt.Errorf("%s is %s: it must not be negative", limit.field, limit.value)
		}
	}
	return nil
}

// constructors make the providers of each type.
func constructors() map[string]func(string, aibridge.ProviderOptions) (aibridge.Provider, error) {
	return map[string]func(string, aibridge.ProviderOptions) (aibridge.Provider, error){
		"anthropic": aibridge.NewAnthropicProvider,
		"openai":    aibridge.NewOpenAIProvider,
	}
}

// loadConfig reads the configuration file. If file is empty, it returns the configuration from the environment.
func loadConfig(file string) (config, error) {
	if file == "" {
		return configFromEnvironment(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return config{}, fmt.Errorf("config: %w", err)
	}
	var c config
	decoder := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict())
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) { // An empty file has no document.
		// The error leaves out the source text: it could contain a secret in the wrong place.
		return config{}, fmt.Errorf("config %s: %s", file, yaml.FormatError(err, false, false))
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return config{}, fmt.Errorf("config %s: it has a second YAML document, which nothing would read: write all in one", file)
	}
	if err := c.Limits.check(); err != nil {
		return config{}, fmt.Errorf("config %s: limits.%w", file, err)
	}
	if err := c.Tools.check(); err != nil {
		return config{}, fmt.Errorf("config %s: tools.%w", file, err)
	}
	if _, err := c.overrides(); err != nil {
		return config{}, fmt.Errorf("config %s: %w", file, err)
	}
	if c.MaxConnections < 0 {
		return config{}, fmt.Errorf("config %s: max_connections is %d: it must not be negative", file, c.MaxConnections)
	}
	if err := c.noteLimited(data); err != nil {
		return config{}, fmt.Errorf("config %s: %w", file, err)
	}
	if _, err := c.mcpServers(); err != nil {
		return config{}, fmt.Errorf("config %s: %w", file, err)
	}
	return c, nil
}

func configFromEnvironment() config {
	var c config
	for _, provider := range []struct{ kind, variable string }{
		{"anthropic", "ANTHROPIC_API_KEY"}, {"openai", "OPENAI_API_KEY"},
	} {
		if os.Getenv(provider.variable) != "" {
			c.Providers = append(c.Providers, providerConfig{
				Name: provider.kind, Type: provider.kind, Keys: []string{"${" + provider.variable + "}"},
			})
		}
	}
	return c
}

// provider makes the provider that p describes. Shared holds the options that all providers have in common.
func (p providerConfig) provider(shared aibridge.ProviderOptions) (aibridge.Provider, error) {
	constructor, ok := constructors()[p.Type]
	if !ok {
		return aibridge.Provider{}, fmt.Errorf("provider %q: type %q is not known: use anthropic or openai", p.Name, p.Type)
	}
	key, err := p.key()
	if err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: keys: %w", p.Name, err)
	}
	shared.BaseURL, shared.Key, shared.Disabled = p.BaseURL, key, p.Disabled
	shared.Passthrough, shared.UsageInStreams = p.Passthrough, p.UsageInStreams
	return constructor(p.Name, shared)
}

// key returns the provider's key. Its errors never repeat the text in the file, which may be a key.
func (p providerConfig) key() (string, error) {
	if p.Disabled || len(p.Keys) == 0 {
		return p.literalKey, nil
	}
	if len(p.Keys) > 1 {
		return "", fmt.Errorf("one key is supported, %d are there", len(p.Keys))
	}
	key, err := secretOf(p.Keys[0], "key")
	if errors.Is(err, errNoReference) {
		err = fmt.Errorf("keep keys out of this file: %w", err)
	}
	return key, err
}
