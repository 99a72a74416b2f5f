package main

import (
	"fmt"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/aibridge/bedrock"
	"github.com/coder/aibridged/aibridge/vertex"
)

// bedrockConfig are the settings of a provider of type bedrock.
type bedrockConfig struct {
	Region      string            `json:"region,omitempty"`
	API         bedrock.API       `json:"api,omitempty"`
	Models      map[string]string `json:"models,omitempty"`
	Betas       []string          `json:"betas,omitempty"`
	ControlURL  string            `json:"control_url,omitempty"`
	Credentials awsConfig         `json:"credentials"`
}

// awsConfig says where AWS credentials are. What is secret is a reference: see [secretOf].
type awsConfig struct {
	Default         bool   `json:"default,omitempty"`
	AccessKeyID     string `json:"access_key_id,omitempty"`
	SecretAccessKey string `json:"secret_access_key,omitempty"`
	SessionToken    string `json:"session_token,omitempty"`
	RoleARN         string `json:"role_arn,omitempty"`
	ExternalID      string `json:"external_id,omitempty"`
	STSURL          string `json:"sts_url,omitempty"`
}

// vertexConfig are the settings of a provider of type vertex.
type vertexConfig struct {
	Project     string            `json:"project,omitempty"`
	Region      string            `json:"region,omitempty"`
	Models      map[string]string `json:"models,omitempty"`
	Credentials googleConfig      `json:"credentials"`
}

// googleConfig says where Google credentials are.
type googleConfig struct {
	Default        bool   `json:"default,omitempty"`
	ServiceAccount string `json:"service_account,omitempty"` // A reference.
}

// checkClouds refuses settings that are for another type: nothing would read them.
func (p providerConfig) checkClouds() error {
	switch {
	case p.Bedrock != nil && p.Type != "bedrock":
		return fmt.Errorf("bedrock: these settings are for the type bedrock")
	case p.Vertex != nil && p.Type != "vertex":
		return fmt.Errorf("vertex: these settings are for the type vertex")
	}
	return nil
}

// newBedrock makes a provider of type bedrock.
func (p providerConfig) newBedrock(name string, shared aibridge.ProviderOptions) (aibridge.Provider, error) {
	var of bedrockConfig
	if p.Bedrock != nil {
		of = *p.Bedrock
	}
	credentials, err := p.awsCredentials(of.Credentials)
	if err != nil {
		return aibridge.Provider{}, fmt.Errorf("provider %q: bedrock.credentials.%w", name, err)
	}
	return bedrock.NewProvider(name, bedrock.Options{
		Provider: shared, Region: of.Region, API: of.API, Models: of.Models, Betas: of.Betas, ControlURL: of.ControlURL, Credentials: credentials,
	})
}

// awsCredentials returns the credentials, or none for a provider that is disabled.
func (p providerConfig) awsCredentials(c awsConfig) (bedrock.Credentials, error) {
	if p.Disabled {
		return bedrock.Credentials{}, nil
	}
	credentials := bedrock.Credentials{Default: c.Default, RoleARN: c.RoleARN, ExternalID: c.ExternalID, STSURL: c.STSURL}
	for _, field := range []struct {
		name, reference string
		value           *string
	}{
		{"access_key_id", c.AccessKeyID, &credentials.AccessKeyID}, {"secret_access_key", c.SecretAccessKey, &credentials.SecretAccessKey},
		{"session_token", c.SessionToken, &credentials.SessionToken},
	} {
		if field.reference == "" {
			continue
		}
		var err error
		if *field.value, err = p.secretOf(field.reference, "key"); err != nil {
			return bedrock.Credentials{}, fmt.Errorf("%s: %w", field.name, err)
		}
	}
	return credentials, nil
}

// kindAccount is what errors call a service account's key, a secret of several lines.
const kindAccount = "service account's key"

// newVertex makes a provider of type vertex.
func (p providerConfig) newVertex(name string, shared aibridge.ProviderOptions) (aibridge.Provider, error) {
	var of vertexConfig
	if p.Vertex != nil {
		of = *p.Vertex
	}
	options := vertex.Options{Provider: shared, Project: of.Project, Region: of.Region, Models: of.Models}
	if !p.Disabled {
		options.Credentials.Default = of.Credentials.Default
		if reference := of.Credentials.ServiceAccount; reference != "" {
			account, err := p.secretOf(reference, kindAccount)
			if err != nil {
				return aibridge.Provider{}, fmt.Errorf("provider %q: vertex.credentials.service_account: %w", name, err)
			}
			options.Credentials.ServiceAccount = []byte(account)
		}
	}
	return vertex.NewProvider(name, options)
}
