package credential

import (
	"net/url"
	"strings"
)

// Query returns a query without the parameters that APIs read keys from, without those that hold a token of the
// gateway, and without those that servers could read in different ways. The rest stays as it is, byte for byte.
func Query(query string, tokens Tokens) string {
	if query == "" {
		return ""
	}
	parameters := strings.Split(query, "&")
	kept := parameters[:0]
	for _, parameter := range parameters {
		if goesOn(parameter, tokens) {
			kept = append(kept, parameter)
		}
	}
	return strings.Join(kept, "&")
}

func goesOn(parameter string, tokens Tokens) bool {
	if strings.Contains(parameter, ";") { // Some servers read it as an ampersand.
		return false
	}
	if tokens.In(parameter) {
		return false
	}
	if _, err := url.QueryUnescape(parameter); err != nil {
		return false
	}
	escaped, _, _ := strings.Cut(parameter, "=")
	name, err := url.QueryUnescape(escaped)
	return err == nil && !namesCredential(name)
}

// namesCredential reports whether a parameter of that name holds a key, by the names that APIs have for one.
func namesCredential(name string) bool {
	const longest = len("authorization") + 8 // With the hyphens and underscores that it may have.
	if len(name) > longest {
		return false
	}
	var plain [longest]byte
	n := 0
	for _, c := range []byte(name) {
		if c == '-' || c == '_' {
			continue
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		plain[n] = c
		n++
	}
	switch string(plain[:n]) {
	case "key", "apikey", "xapikey", "accesstoken", "token", "authorization":
		return true
	}
	return false
}
