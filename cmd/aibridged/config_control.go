package main

import (
	"errors"
	"fmt"
)

// controlConfig is how a gateway and a control plane in different processes find and trust each other.
type controlConfig struct {
	// Listen is where the control plane listens for gateways.
	Listen string `yaml:"listen"`
	// Address is where the gateway finds its control plane.
	Address string `yaml:"address"`
	// JoinToken is a reference to what a gateway proves who it is with.
	JoinToken string `yaml:"join_token"`
	// TLS is the certificate of this end. A control plane without one makes its own; a gateway with one needs no join token.
	TLS *tlsConfig `yaml:"tls"`
	// CA is a file with the authorities from which the other end's certificate may come. Empty: a control plane lets only
	// gateways with a join token in; a gateway trusts the one that its join token names, or else the system's.
	CA string `yaml:"ca"`
}

// check refuses half a certificate, and a secret in the place of a reference.
func (c controlConfig) check() error {
	if c.TLS != nil && (c.TLS.Cert == "" || c.TLS.Key == "") {
		return errors.New("tls: write the paths of two files in PEM, cert and key")
	}
	if c.JoinToken != "" && !isReference(c.JoinToken) {
		return fmt.Errorf("join token: %w", errNoReference)
	}
	return nil
}

// controlFlags are the flags for what a controlConfig says.
type controlFlags struct{ address, joinToken, ca, cert, key string }

// over returns a configuration in which what flags say has precedence.
func (f controlFlags) over(c controlConfig) (controlConfig, error) {
	for _, field := range []struct {
		flag string
		to   *string
	}{{f.address, &c.Address}, {f.joinToken, &c.JoinToken}, {f.ca, &c.CA}} {
		if field.flag != "" {
			*field.to = field.flag
		}
	}
	if f.cert != "" || f.key != "" {
		c.TLS = &tlsConfig{Cert: f.cert, Key: f.key}
	}
	return c, c.check()
}
