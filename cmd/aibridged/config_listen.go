package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// defaultSocketMode lets only the gateway's own user connect.
const defaultSocketMode = 0o600

// tlsConfig names the files of a certificate, with those that lead to its issuer, and of its key, both in PEM.
type tlsConfig struct {
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// checkListening refuses entries about connections that cannot be.
func (c config) checkListening() error {
	if c.TLS != nil && (c.TLS.Cert == "" || c.TLS.Key == "") {
		return errors.New("tls: write the paths of two files in PEM, cert and key")
	}
	if _, err := socketMode(c.ListenMode); err != nil {
		return fmt.Errorf("listen_mode: %w", err)
	}
	_, err := newProxies(c.TrustedProxies)
	return err
}

// socketModeText is the mode of a socket as it stands in the configuration, quoted or not. Without this type, 0660 would be read
// as the number 432.
type socketModeText string

// UnmarshalYAML implements the interface of the YAML package.
func (s *socketModeText) UnmarshalYAML(text []byte) error {
	*s = socketModeText(strings.Trim(strings.TrimSpace(string(text)), `"'`))
	return nil
}

// socketMode reads the mode of a socket. If text is empty, it is the default.
func socketMode(text socketModeText) (fs.FileMode, error) {
	if text == "" {
		return defaultSocketMode, nil
	}
	mode, err := strconv.ParseUint(strings.TrimPrefix(string(text), "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf("%q is not the mode of a file: write it as in \"0660\"", text)
	}
	return fs.FileMode(mode), nil
}
