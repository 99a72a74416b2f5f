package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/goccy/go-yaml"

	"github.com/coder/aibridged/aibridge"
)

// config is the content of the configuration file. Without a file, the providers come from the environment.
type config struct {
	Listen         string           `yaml:"listen"`
	AdminListen    string           `yaml:"admin_listen"`
	AdminHosts     []string         `yaml:"admin_hosts"`
	MaxConnections int              `yaml:"max_connections"`
	CORSOrigins    []string         `yaml:"cors_origins"`
	Providers      []providerConfig `yaml:"providers"`
	Limits         limitsConfig     `yaml:"limits"`
	// MCPServers is a field only so that the error for it can say why it is refused.
	MCPServers []any `yaml:"mcp_servers"`
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

	Bedrock *bedrockConfig `yaml:"bedrock"`
	Vertex  *vertexConfig  `yaml:"vertex"`

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
func (p providerConfig) constructors() map[string]func(string, aibridge.ProviderOptions) (aibridge.Provider, error) {
	return map[string]func(string, aibridge.ProviderOptions) (aibridge.Provider, error){
		"anthropic": aibridge.NewAnthropicProvider,
		"bedrock":   p.newBedrock,
		"openai":    aibridge.NewOpenAIProvider,
		"vertex":    p.newVertex,
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
	if c.MaxConnections < 0 {
		return config{}, fmt.Errorf("config %s: max_connections is %d: it must not be negative", file, c.MaxConnections)
	}
	if len(c.MCPServers) > 0 {
		return config{}, fmt.Errorf("config %s: mcp_servers: MCP tools cannot be configured yet; remove them", file)
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
	constructor, ok := p.constructors()[p.Type]
	if !ok {
		return aibridge.Provider{}, fmt.Errorf("provider %q: type %q is not known: use anthropic, bedrock, openai or vertex", p.Name, p.Type)
	}
	if err := p.checkClouds(); err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: %w", p.Name, err)
	}
	key, err := p.key()
	if err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: keys: %w", p.Name, err)
	}
	shared.BaseURL, shared.Key, shared.Disabled = p.BaseURL, key, p.Disabled
	shared.Passthrough, shared.UsageInStreams = p.Passthrough, p.UsageInStreams
	return constructor(p.Name, shared)
}

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// key returns the provider's key. Its errors never repeat the text in the file, which may be a key.
func (p providerConfig) key() (string, error) {
	if p.Disabled || len(p.Keys) == 0 {
		return p.literalKey, nil
	}
	if len(p.Keys) > 1 {
		return "", fmt.Errorf("one key is supported, %d are there", len(p.Keys))
	}
	return secretKey(p.Keys[0])
}

// secretKey returns the key that a reference in the file stands for. Its errors never repeat the reference, which may be a
// key by mistake.
func secretKey(reference string) (string, error) {
	key, where, err := secret(reference)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(key, unicode.IsControl) {
		return "", fmt.Errorf("%s has a line break or another control character within the key", where)
	}
	return key, nil
}

// secret returns the text that a reference stands for, and where it is: in a variable of the environment or in a file.
func secret(reference string) (text, where string, err error) {
	if match := variable.FindStringSubmatch(reference); match != nil {
		text := strings.TrimSpace(os.Getenv(match[1]))
		if text == "" {
			return "", "", fmt.Errorf("the environment variable %s is empty: set it, or name another", match[1])
		}
		return text, "the environment variable " + match[1], nil
	}
	if file, ok := strings.CutPrefix(reference, "file:"); ok {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", "", err
		}
		text := strings.TrimSpace(string(data))
		if text == "" {
			return "", "", fmt.Errorf("the file %s is empty", file)
		}
		return text, "the file " + file, nil
	}
	return "", "", fmt.Errorf("keep keys out of this file: write ${NAME_OF_A_VARIABLE} or file:/path/to/a/file")
}
