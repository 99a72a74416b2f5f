// Package join secures the connection between a gateway and its control plane with TLS, and lets a gateway prove who it is
// before anything else is said: by a certificate, or by a [Token] that the control plane has made.
//
//	gate := &join.Gate{TLS: config, Check: check}
//	go controlplane.Serve(ctx, listener, server, controlplane.ServeOptions{Admit: gate.Admit})
//
//	dialer := controlplane.Network(func(ctx context.Context) (net.Conn, error) {
//		conn, err := net.Dial("tcp", address)
//		if err != nil {
//			return nil, err
//		}
//		return join.Enter(ctx, conn, config, token)
//	}, controlplane.NetworkOptions{})
//
// After the TLS handshake, the gateway sends one line, "token ID SECRET" or "certificate", and the control plane answers with
// one, "welcome" or "refused WHY". A line has 256 bytes at most, and both ends give up after five seconds. The package
// keeps no tokens and makes no certificates.
package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

var (
	// ErrRefused means that the control plane does not let the gateway in. What wraps it says why.
	ErrRefused = errors.New("the control plane refuses this gateway")
	// ErrUntrusted means that what answers is not the control plane that the join token is for.
	ErrUntrusted = errors.New("the control plane's certificate is not trusted")
)

// Trust says whom a gateway takes for its control plane.
type Trust struct {
	Host  string         // The name or the address that the certificate has to be for.
	Roots *x509.CertPool // Nil: the system's.
	// Own are the certificates that the gateway shows. None: it has a token.
	Own []tls.Certificate
}

// Config returns how a gateway with a token, or the zero Token, speaks TLS. A token that names an authority is believed, unless
// there are Roots.
func (t Trust) Config(token Token) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{Protocol}, ServerName: t.Host, RootCAs: t.Roots, Certificates: t.Own,
	}
	if token.Pin != nil && t.Roots == nil {
		config.InsecureSkipVerify = true // In its place:
		config.VerifyConnection = func(state tls.ConnectionState) error { return token.verify(state.PeerCertificates) }
	}
	return config
}

// Enter secures a connection, and proves who the gateway is: with the token, or with the certificate of the configuration if
// it is the zero Token. If it fails, it closes the connection.
func Enter(ctx context.Context, conn net.Conn, config *tls.Config, token Token) (_ net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if !stop() { // What failed is the connection that was closed for it.
			err = context.Cause(ctx)
		}
		if err != nil {
			_ = conn.Close()
		}
	}()
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	_, unsaid := secured.Write([]byte(token.greeting()))
	// What the control plane says of a certificate that it refuses is here even where it hung up before the greeting.
	err = readAnswer(secured)
	alert, failed := errors.AsType[*net.OpError](err)
	switch {
	case failed && alert.Op == remoteAlert:
		return nil, fmt.Errorf("%w: its certificate: %w", ErrRefused, err)
	case unsaid != nil && !errors.Is(err, ErrRefused):
		return nil, unsaid
	case err != nil:
		return nil, err
	}
	return secured, nil
}

// remoteAlert is what crypto/tls calls an alert of the other end. After a handshake of TLS 1.3, that is the verdict on the
// gateway's certificate: a server verifies it when the gateway's own handshake has ended.
const remoteAlert = "remote error"
