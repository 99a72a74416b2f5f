package join

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Protocol is what both ends name in the TLS handshake, so that neither takes another service for its peer.
const Protocol = "aibridged-control-1"

const (
	// longestLine is how many bytes a line of the greeting may have, without its end.
	longestLine = 256

	greetingWithToken       = "token"
	greetingWithCertificate = "certificate"
	answerWelcome           = "welcome"
	answerRefused           = "refused "
)

// errGreeting is the error of what is no greeting. It does not repeat it: it may hold a secret.
var errGreeting = errors.New("it did not say who it is, or speaks another protocol")

// greeting is the line with which a gateway says who it is.
func (t Token) greeting() string {
	if t.ID == "" {
		return greetingWithCertificate + "\n"
	}
	return greetingWithToken + " " + t.ID + " " + t.Secret + "\n"
}

// parseGreeting returns the token of a greeting, or the zero Token if it names a certificate.
func parseGreeting(line string) (Token, error) {
	words := strings.Split(line, " ")
	switch {
	case line == greetingWithCertificate:
		return Token{}, nil
	case len(words) == 3 && words[0] == greetingWithToken && isWord(words[1], idLen) && isWord(words[2], secretLen):
		return Token{ID: words[1], Secret: words[2]}, nil
	}
	return Token{}, errGreeting
}

// readLine reads up to the end of a line, and nothing behind it.
func readLine(from io.Reader) (string, error) {
	var line [longestLine + 1]byte
	for n := range line {
		if _, err := io.ReadFull(from, line[n:n+1]); err != nil {
			return "", fmt.Errorf("greeting: %w", err)
		}
		if line[n] == '\n' {
			return string(line[:n]), nil
		}
	}
	return "", errGreeting
}

// readAnswer reads what the control plane says to a greeting.
func readAnswer(from io.Reader) error {
	line, err := readLine(from)
	if err != nil {
		return err
	}
	if line == answerWelcome {
		return nil
	}
	text, refused := strings.CutPrefix(line, answerRefused)
	if !refused || strings.ContainsFunc(text, unicode.IsControl) {
		return errGreeting
	}
	return fmt.Errorf("%w: %s", ErrRefused, text)
}
