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
	ListenMode     socketModeText    `yaml:"listen_mode"`
	TLS            *tlsConfig        `yaml:"tls"`
	TrustedProxies []string          `yaml:"trusted_proxies"`
	AdminListen    string            `yaml:"admin_listen"`
	AdminHosts     []string          `yaml:"admin_hosts"`
	MaxConnections int               `yaml:"max_connections"`
	CORSOrigins    []string          `yaml:"cors_origins"`
	Console        *bool             `yaml:"console"`
	Providers      []providerConfig  `yaml:"providers"`
	Limits         limitsConfig      `yaml:"limits"`
	Prices         []priceConfig     `yaml:"prices"`
	Breaker        breakerConfig     `yaml:"breaker"`
	Admission      admissionConfig   `yaml:"admission"`
	MCPServers     []mcpServerConfig `yaml:"mcp_servers"`
	Tools          toolsConfig       `yaml:"tools"`
	Control        controlConfig     `yaml:"control"`
	Budgets        budgetsConfig     `yaml:"budgets"`
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
	if err := c.Breaker.check(); err != nil {
		return config{}, fmt.Errorf("config %s: breaker: %w", file, err)
	}
	if err := c.Admission.check(); err != nil {
		return config{}, fmt.Errorf("config %s: admission: %w", file, err)
	}
	if err := c.Control.check(); err != nil {
		return config{}, fmt.Errorf("config %s: control: %w", file, err)
	}
	if _, err := c.Budgets.zone(); err != nil {
		return config{}, fmt.Errorf("config %s: budgets: %w", file, err)
	}
	if err := c.checkListening(); err != nil {
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
				Name: provider.kind, Type: provider.kind, Keys: []keyConfig{{Key: "${" + provider.variable + "}"}},
			})
		}
	}
	return c
}
