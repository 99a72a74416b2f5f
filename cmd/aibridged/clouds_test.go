package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge"
)

// TestDocumentedProviders builds the providers of the configurations in docs/providers.md.
func TestDocumentedProviders(t *testing.T) {
	text, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	account := serviceAccount(t)
	for file, secret := range map[string]string{"bedrock": "secret", "vertex.json": account, "default.json": account} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"BEDROCK_ACCESS_KEY_ID", "BEDROCK_SESSION_TOKEN", "BEDROCK_API_KEY"} {
		t.Setenv(name, "of-"+name)
	}
	t.Setenv("HOME", dir)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(dir, "default.json"))
	built := map[string]int{}
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		file := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(block, "/run/secrets", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := loadConfig(file)
		if err != nil {
			t.Fatalf("%v in\n%s", err, block)
		}
		for _, configured := range c.Providers {
			provider, err := configured.provider(aibridge.ProviderOptions{})
			if err != nil {
				t.Errorf("%v in\n%s", err, block)
				continue
			}
			if provider.Type() != configured.Type || !provider.HasKey() {
				t.Errorf("%s is of type %s, with a key: %t", configured.Name, provider.Type(), provider.HasKey())
			}
			built[provider.Type()]++
		}
	}
	if built["bedrock"] < 6 || built["vertex"] < 2 {
		t.Errorf("built %v", built)
	}
}

// serviceAccount returns the JSON of the key of a service account that nobody has.
func serviceAccount(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(map[string]string{
		"type": "service_account", "client_email": "a@b", "private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
