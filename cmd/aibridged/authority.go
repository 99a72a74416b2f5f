package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	authorityLife   = 20 * 365 * 24 * time.Hour
	certificateLife = 90 * 24 * time.Hour
	// certificateRenewed is the age at which the control plane makes another certificate for itself.
	certificateRenewed = 30 * 24 * time.Hour
	// clockError is by how much the clocks of two machines may differ.
	clockError = time.Hour
)

// authority is the control plane's own certificate authority. It signs nothing but certificates of this control plane.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	names       []string // Of the control plane.

	mu      sync.Mutex
	current *tls.Certificate // Guarded by mu, like made.
	made    time.Time
}

// authorityFile is the file with the certificate and the key of the control plane's authority.
func (s settings) authorityFile() string { return filepath.Join(s.dataDir, "control-authority.pem") }

// openAuthority reads the authority of a data directory, which it makes if it is missing.
func openAuthority(s settings) (*authority, error) {
	file := s.authorityFile()
	text, err := readSecret(file, "authority")
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = newAuthority(); err == nil {
			err = makePrivateFile(file, text)
		}
		if err == nil {
			text, err = readSecret(file, "authority") // Another process may have been faster.
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the control plane's authority: %w", err)
	}
	a, err := parseAuthority([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("the control plane's authority, %s, is damaged: restore it, or delete it and make new join tokens: %w", file, err)
	}
	return a, nil
}

// newAuthority returns the file of a new authority.
func newAuthority() (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	serial, err := newSerial()
	if err != nil {
		return "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "aibridged control plane " + serial.Text(36)[:6]},
		NotBefore: now.Add(-clockError), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})), nil
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}

func parseAuthority(text []byte) (*authority, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("it is not one that this program has made")
	}
	a := &authority{certificate: pair.Leaf, key: key, names: []string{"localhost"}}
	if host, err := os.Hostname(); err == nil && host != "" {
		a.names = append(a.names, host)
	}
	return a, nil
}

// get returns the control plane's certificate: a new one once it is older than a month.
func (a *authority) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if age := now.Sub(a.made); a.current != nil && age >= 0 && age < certificateRenewed {
		return a.current, nil
	}
	current, err := a.sign(now)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	a.current, a.made = current, now
	return current, nil
}

func (a *authority) sign(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	signed, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "aibridged control"}, NotBefore: now.Add(-clockError), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: a.names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{signed, a.certificate.Raw}, PrivateKey: key}, nil
}
