package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/coder/aibridged/aibridgedserver"
)

// encryptionVariable has the keys that secrets in the database are encrypted with, in the place of the file.
const encryptionVariable = "AIBRIDGED_ENCRYPTION_KEY"

// dropAdvice says what to do if a key is lost.
const dropAdvice = "put it back, or, if it is lost, delete the secrets that it encrypts, and no others, with `aibridged secrets rotate --drop-unreadable`"

// encryptionFile is the file with the keys that secrets in the database are encrypted with: one a line, of which the first
// is used, and the others only read what a rotation has not reached.
func (s settings) encryptionFile() string { return filepath.Join(s.dataDir, "encryption.key") }

// encryptionPlace says where the keys are.
func (s settings) encryptionPlace() string {
	if os.Getenv(encryptionVariable) != "" {
		return "environment variable " + encryptionVariable
	}
	return "file " + s.encryptionFile()
}

// encryptionKeys implements [aibridgedserver.Options.EncryptionKeys].
func (s settings) encryptionKeys(first bool) ([]aibridgedserver.EncryptionKey, error) {
	if text := os.Getenv(encryptionVariable); text != "" {
		return parseEncryptionKeys(strings.Split(text, ","), s.encryptionPlace())
	}
	text, err := readSecret(s.encryptionFile(), "key")
	if errors.Is(err, fs.ErrNotExist) {
		if !first {
			return nil, fmt.Errorf("the %s, whose key the secrets in the database are encrypted with, is missing: %s", s.encryptionPlace(), dropAdvice)
		}
		if err := makePrivateFile(s.encryptionFile(), newEncryptionKey()); err != nil {
			return nil, fmt.Errorf("make the key file: %w", err)
		}
		text, err = readSecret(s.encryptionFile(), "key")
	}
	if err != nil {
		return nil, fmt.Errorf("encryption key: %w", err)
	}
	return parseEncryptionKeys(strings.Fields(text), s.encryptionPlace())
}

// parseEncryptionKeys reads keys in base64 or in hex. Its errors do not repeat them.
func parseEncryptionKeys(texts []string, place string) ([]aibridgedserver.EncryptionKey, error) {
	var keys []aibridgedserver.EncryptionKey
	for _, text := range texts {
		text = strings.TrimSpace(text)
		data, err := hex.DecodeString(text)
		if err != nil {
			data, err = base64.StdEncoding.DecodeString(text)
		}
		if err != nil || len(data) != len(aibridgedserver.EncryptionKey{}) {
			return nil, fmt.Errorf("the %s holds no encryption key: write 32 random bytes in base64, as `openssl rand -base64 32` prints them", place)
		}
		keys = append(keys, aibridgedserver.EncryptionKey(data))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the %s is empty: %s", place, dropAdvice)
	}
	return keys, nil
}

// newEncryptionKey returns the line of a new key.
func newEncryptionKey() string {
	var key aibridgedserver.EncryptionKey
	_, _ = rand.Read(key[:]) // It never fails.
	return base64.StdEncoding.EncodeToString(key[:]) + "\n"
}

// explainEncryption adds to the error about a key where it was looked for, and what to do.
func (s settings) explainEncryption(err error) error {
	if errors.Is(err, aibridgedserver.ErrWrongKey) {
		return fmt.Errorf("%w than the one in the %s: %s", err, s.encryptionPlace(), dropAdvice)
	}
	return err
}
