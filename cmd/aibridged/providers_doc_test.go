package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
)

// TestDocumentedProviders checks that each configuration in docs/providers.md can be pasted, and that there is one for each
// type.
func TestDocumentedProviders(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "providers.md"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := t.TempDir()
	for name, secret := range map[string]string{"anthropic-3": "from-a-file", "bedrock": "from-a-file", "vertex.json": serviceAccount(t)} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(secrets, "vertex.json"))
	for _, match := range regexp.MustCompile(`\$\{([A-Z0-9_]+)\}`).FindAllStringSubmatch(string(text), -1) {
		t.Setenv(match[1], "from-the-environment")
	}
	shown := map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(block[1], "/run/secrets", secrets)), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadConfig(file)
		if err != nil {
			t.Errorf("%v in\n%s", err, block[1])
		}
		if len(c.Providers) == 0 {
			t.Errorf("no provider in\n%s", block[1])
		}
		for _, configured := range c.Providers {
			shown[configured.Type] = true
			provider, err := configured.provider(aibridge.ProviderOptions{})
			isCloud := configured.Bedrock != nil || configured.Vertex != nil // Each with credentials.
			if err != nil || provider.HasKey() != (len(configured.Keys) > 0 || isCloud) {
				t.Errorf("%v in\n%s", err, block[1])
			}
		}
	}
	for kind := range (providerConfig{}).constructors() {
		if !shown[kind] {
			t.Errorf("no configuration of type %s is shown", kind)
		}
	}
}

// TestKeysOfAConfiguration checks both ways to write a key.
func TestKeysOfAConfiguration(t *testing.T) {
	t.Setenv("TEST_KEY_A", "a")
	t.Setenv("TEST_KEY_B", "b")
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "providers: [{name: p, type: openai, keys: ['${TEST_KEY_A}', {key: '${TEST_KEY_B}', account: x}]}]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Providers[0].keys()
	if err != nil || len(got) != 2 || got[0] != (aibridge.Key{Secret: "a"}) || got[1] != (aibridge.Key{Secret: "b", Account: "x"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestCredentialsOfAnotherMachine checks that a provider whose credentials this machine lacks has the status error, and that the
// others are served.
func TestCredentialsOfAnotherMachine(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "nothing.json"))
	t.Setenv("AWS_PROFILE", "no-such-profile")
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "providers: [{name: b, type: bedrock, bedrock: {region: us-east-1, credentials: {default: true}}}, " +
		"{name: v, type: vertex, vertex: {project: p, region: global, credentials: {default: true}}}, {name: z, type: openai}]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gateway := lineOf(t, ctx, `(?s)(b) \(bedrock\): error: .*default chain.*v \(vertex\): error: .*no default credentials here.*z \(openai\): no key`,
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--config", file)
	cancel()
	if err := <-gateway.ended; err != nil {
		t.Error(err)
	}
}

// TestUnknownType checks that a provider whose type is not known has the status error, and that the others are served.
func TestUnknownType(t *testing.T) {
	t.Setenv("TEST_KEY", "a-key-of-no-account")
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "providers: [{name: new, type: acme, keys: ['${TEST_KEY}']}, {name: old, type: openai, keys: ['${TEST_KEY}']}]"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gateway := lineOf(t, ctx, `(?s)for operators +(http://\S+).*new \(acme\): error: provider "new": type "acme" is not known.*old \(openai\): ready`,
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", t.TempDir(), "--config", file)
	defer func() {
		cancel()
		if err := <-gateway.ended; err != nil {
			t.Error(err)
		}
	}()
	response, err := http.Get(gateway.groups[1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	metrics, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`aibridged_provider_info{provider_name="new",provider_type="acme",status="error"} 1`,
		`aibridged_provider_info{provider_name="old",provider_type="openai",status="enabled"} 1`,
		`aibridged_key_pool_state{provider="old",state="ready"} 1`,
		`aibridged_circuit_breaker_state{provider="old",route="/v1/responses"} 0`,
	} {
		if !strings.Contains(string(metrics), line) {
			t.Errorf("no line %s", line)
		}
	}
}
