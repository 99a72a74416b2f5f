package join

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

const (
	tokenPrefix = "join1"
	// idLen and secretLen are how long the parts of a token are.
	idLen     = 10
	secretLen = 26
	// byName stands for the digest in a token of a control plane whose certificate comes from others.
	byName = "byname"
)

// errNoToken does not repeat the text: it may be a secret.
var errNoToken = errors.New("this is no join token: `aibridged control join-token` prints one, of the form " + tokenPrefix + "-…")

// Token is what a gateway needs to reach a control plane: a secret, and whom to trust. The zero Token is none.
type Token struct {
	ID     string // Public.
	Secret string
	// Pin is the SHA-256 of the certificate of the control plane's own authority, which signs nothing but certificates of
	// this control plane. Nil: the certificate comes from others, and is judged by the name in it.
	Pin []byte
}

// NewToken makes a token for a control plane with this authority, or with nil for one whose certificate comes from others.
func NewToken(authority *x509.Certificate) Token {
	t := Token{ID: rand.Text()[:idLen], Secret: rand.Text()[:secretLen]}
	if authority != nil {
		t.Pin = digestOf(authority)
	}
	return t
}

// ParseToken reads what [Token.Text] returns.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(text, "-")
	if len(parts) != 4 || parts[0] != tokenPrefix || !isWord(parts[1], idLen) || !isWord(parts[2], secretLen) {
		return Token{}, errNoToken
	}
	t := Token{ID: parts[1], Secret: parts[2]}
	if parts[3] == byName {
		return t, nil
	}
	var err error
	if t.Pin, err = hex.DecodeString(parts[3]); err != nil || len(t.Pin) != sha256.Size {
		return Token{}, errNoToken
	}
	return t, nil
}

// Text returns the token as it is handed to a gateway. It is a secret.
func (t Token) Text() string {
	pin := byName
	if t.Pin != nil {
		pin = hex.EncodeToString(t.Pin)
	}
	return strings.Join([]string{tokenPrefix, t.ID, t.Secret, pin}, "-")
}

// String names the token without its secret.
func (t Token) String() string { return "join token " + t.ID }

// GoString does the same.
func (t Token) GoString() string { return t.String() }

// verify accepts a chain of certificates whose authority is the one that the token names.
func (t Token) verify(chain []*x509.Certificate) error {
	for _, authority := range chain {
		if !bytes.Equal(digestOf(authority), t.Pin) {
			continue
		}
		roots, between := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(authority)
		for _, one := range chain[1:] {
			between.AddCert(one)
		}
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUntrusted, err)
		}
		return nil
	}
	return fmt.Errorf("%w: the join token is for a control plane of another authority", ErrUntrusted)
}

func digestOf(certificate *x509.Certificate) []byte {
	sum := sha256.Sum256(certificate.Raw)
	return sum[:]
}

// isWord reports whether a text has n letters or digits.
func isWord(text string, n int) bool {
	if len(text) != n {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
