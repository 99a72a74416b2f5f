package inproc

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
)

// received returns a copy of header as the other end of a connection would have read it: canonical names, values on one
// line and without blanks around them. Names that could not be sent are left out.
func received(header http.Header) http.Header {
	clone := make(http.Header, len(header))
	for name, values := range header {
		if !isToken(name) || len(values) == 0 {
			continue
		}
		name = http.CanonicalHeaderKey(name)
		for _, value := range values {
			clone[name] = append(clone[name], oneLine(value))
		}
	}
	return clone
}

func oneLine(value string) string {
	if strings.ContainsAny(value, "\r\n") {
		value = strings.NewReplacer("\n", " ", "\r", " ").Replace(value)
	}
	return textproto.TrimString(value)
}

// checkHeader refuses names and values that a client must not send.
// https://www.rfc-editor.org/rfc/rfc9110#section-5.5
func checkHeader(header http.Header) error {
	for name, values := range header {
		if !isToken(name) {
			return fmt.Errorf("invalid name %q", name)
		}
		for _, value := range values {
			if strings.ContainsFunc(value, isControl) {
				return fmt.Errorf("invalid value of %q", name)
			}
		}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// isToken reports whether s is a token, as methods and header names are.
// https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
