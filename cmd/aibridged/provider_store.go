package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridgedserver"
)

// stored returns the provider as the database has it. Secrets in it are references, with absolute paths, so that a command
// that is run elsewhere means the same file. Keys that are given themselves get references, too.
func (p providerConfig) stored() (aibridgedserver.Provider, error) {
	stored := aibridgedserver.Provider{Name: p.Name, Type: p.Type, BaseURL: p.BaseURL, Disabled: p.Disabled}
	p.Name, p.Type, p.BaseURL, p.Disabled = "", "", "", false // They have columns of their own.
	p, err := p.withAbsolutePaths()
	if err != nil {
		return stored, err
	}
	for i, key := range p.Keys {
		if key.Key == "" && key.literal != "" {
			p.Keys[i].Key = aibridgedserver.NewSecretReference()
			if stored.Secrets == nil {
				stored.Secrets = map[string]string{}
			}
			stored.Secrets[p.Keys[i].Key] = key.literal
		}
	}
	stored.Settings, err = json.Marshal(p)
	return stored, err
}

// withAbsolutePaths returns a copy of the provider whose references to files have absolute paths.
func (p providerConfig) withAbsolutePaths() (providerConfig, error) {
	var errs []error
	p = p.withReferences(func(reference, _ string) string {
		absolute, err := absoluteReference(reference)
		errs = append(errs, err)
		return absolute
	})
	return p, errors.Join(errs...)
}

// withReferences returns a copy of the provider in which each text that may be a reference is what change returns for it. Kind
// says what it leads to, as [secretOf] has it, or is empty for the value of a header, which need not be a reference.
func (p providerConfig) withReferences(change func(text, kind string) string) providerConfig {
	p.Keys, p.Headers = slices.Clone(p.Keys), maps.Clone(p.Headers)
	for i, key := range p.Keys {
		p.Keys[i].Key = change(key.Key, "key")
	}
	for name, value := range p.Headers {
		p.Headers[name] = change(value, "")
	}
	if p.Bedrock != nil {
		of := *p.Bedrock
		for _, reference := range []*string{&of.Credentials.AccessKeyID, &of.Credentials.SecretAccessKey, &of.Credentials.SessionToken} {
			*reference = change(*reference, "key")
		}
		p.Bedrock = &of
	}
	if p.Vertex != nil {
		of := *p.Vertex
		of.Credentials.ServiceAccount = change(of.Credentials.ServiceAccount, kindAccount)
		p.Vertex = &of
	}
	return p
}

// absoluteReference returns a reference to a file with an absolute path, and any other text as it is.
func absoluteReference(text string) (string, error) {
	path, ok := strings.CutPrefix(text, "file:")
	if !ok || path == "" {
		return text, nil
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return "file:" + absolute, nil
}

// providerOf returns the configuration of a provider in the database. Settings that this program does not know are an error:
// they would be ignored.
func providerOf(stored aibridgedserver.Provider) (providerConfig, error) {
	var p providerConfig
	decoder := json.NewDecoder(bytes.NewReader(stored.Settings))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		return p, fmt.Errorf("provider %q: settings in the database: %w", stored.Name, err)
	}
	p.Name, p.Type, p.BaseURL, p.Disabled = stored.Name, stored.Type, stored.BaseURL, stored.Disabled
	return p, nil
}

// readKept reads the keys that the database keeps.
func (p providerConfig) readKept(ctx context.Context, from *store) error {
	if p.Disabled {
		return nil
	}
	for i, key := range p.Keys {
		if !aibridgedserver.IsSecretReference(key.Key) {
			continue
		}
		var err error
		if p.Keys[i].literal, err = from.Secret(ctx, key.Key); err != nil {
			return fmt.Errorf("provider %q: keys: %w", p.Name, err)
		}
	}
	return nil
}

// check returns an error if no provider can be made from this, whatever its secrets are.
func (p providerConfig) check() error {
	for _, key := range p.Keys {
		if key.literal == "" && !isReference(key.Key) && !aibridgedserver.IsSecretReference(key.Key) {
			return fmt.Errorf("provider %q: keys: %w", p.Name, errNoReference)
		}
	}
	p.Headers = maps.Clone(p.Headers)
	for name, value := range p.Headers {
		if isReference(value) {
			p.Headers[name] = "a-value"
		}
	}
	p.Disabled = true // Secrets are not looked up: they may be known only where the gateway runs.
	_, err := p.provider(aibridge.ProviderOptions{})
	return err
}

// checkProviders returns an error if one of the configured providers cannot be made. One whose type is not known is fine.
func (c config) checkProviders() error {
	return c.checkEachProvider(func(p providerConfig) error {
		_, err := p.provider(aibridge.ProviderOptions{})
		return err
	})
}

// checkEachProvider returns an error if check returns one for a provider, or if two have the same name.
func (c config) checkEachProvider(check func(providerConfig) error) error {
	known := map[string]bool{}
	for _, configured := range c.Providers {
		if err := check(configured); err != nil && !errors.Is(err, errUnknownType) {
			return err
		}
		if known[configured.Name] {
			return fmt.Errorf("two providers are named %q: give each a name of its own", configured.Name)
		}
		known[configured.Name] = true
	}
	return nil
}
