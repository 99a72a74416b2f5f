package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/coder/aibridged/aibridge"
)

// config is the content of the configuration file. Without a file, the providers come from the environment.
type config struct {
	Listen    string           `yaml:"listen"`
	Providers []providerConfig `yaml:"providers"`
	Limits    limitsConfig     `yaml:"limits"`
	// MCPServers is a field only so that the error for it can say why it is refused.
	MCPServers []any `yaml:"mcp_servers"`
}

type providerConfig struct {
	Name     string   `yaml:"name"`
	Type     string   `yaml:"type"`
	BaseURL  string   `yaml:"base_url"`
	Keys     []string `yaml:"keys"`
	Disabled bool     `yaml:"disabled"`

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
	if err := yaml.UnmarshalWithOptions(data, &c, yaml.Strict()); err != nil {
		// The error leaves out the source text: it could contain a secret in the wrong place.
		return config{}, fmt.Errorf("config %s: %s", file, yaml.FormatError(err, false, false))
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
	constructor, ok := constructors()[p.Type]
	if !ok {
		return aibridge.Provider{}, fmt.Errorf("provider %q: type %q is not known: use anthropic or openai", p.Name, p.Type)
	}
	key, err := p.key()
	if err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: keys: %w", p.Name, err)
	}
	shared.BaseURL, shared.Key, shared.Disabled = p.BaseURL, key, p.Disabled
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
	reference := p.Keys[0]
	if match := variable.FindStringSubmatch(reference); match != nil {
		key := strings.TrimSpace(os.Getenv(match[1]))
		if key == "" {
			return "", fmt.Errorf("the environment variable %s is empty: set it, or name another", match[1])
		}
		return key, nil
	}
	if file, ok := strings.CutPrefix(reference, "file:"); ok {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		key := strings.TrimSpace(string(data))
		if key == "" {
			return "", fmt.Errorf("the file %s is empty", file)
		}
		return key, nil
	}
	return "", fmt.Errorf("keep keys out of this file: write ${NAME_OF_A_VARIABLE} or file:/path/to/a/file")
}
