package observe

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// redacted takes the place of a hidden value in a dump.
const redacted = "[redacted]"

// requestHead returns the request line and the headers of r, for a dump.
func requestHead(r *http.Request) []byte {
	var b bytes.Buffer
	path, host := r.URL.EscapedPath(), r.Host
	if r.URL.RawQuery != "" {
		path += "?" + redactQuery(r.URL.RawQuery)
	}
	if host == "" {
		host = r.URL.Host
	}
	fmt.Fprintf(&b, "%s %s %s\nHost: %s\n", r.Method, path, r.Proto, host)
	writeHeader(&b, r.Header)
	return b.Bytes()
}

// responseHead returns the status line and the headers of resp, for a dump.
func responseHead(resp *http.Response) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", resp.Proto, resp.Status)
	writeHeader(&b, resp.Header)
	return b.Bytes()
}

// errorHead returns what a dump shows where there was no response.
func errorHead(err error) []byte { return fmt.Appendf(nil, "[no response: %v]\n", err) }

// writeHeader writes a header, in the order of its names, and the empty line after it.
func writeHeader(b *bytes.Buffer, header http.Header) {
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			if isCredential(name) {
				value = redacted
			}
			fmt.Fprintf(b, "%s: %s\n", name, value)
		}
	}
	b.WriteByte('\n')
}

// isCredential reports whether name, of a header or a query parameter, looks like that of a credential. It says so too
// often rather than too rarely, and therefore hides "Idempotency-Key" too.
func isCredential(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(
		[]string{"authorization", "cookie", "credential", "key", "password", "secret", "signature", "token"},
		func(word string) bool { return strings.Contains(name, word) })
}

// redactQuery returns a raw query without its credentials, and the rest unchanged. It also hides a parameter whose name
// cannot be decoded.
func redactQuery(query string) string {
	parts := strings.FieldsFunc(query, func(c rune) bool { return c == '&' || c == ';' })
	for i, part := range parts {
		raw, _, valued := strings.Cut(part, "=")
		name, err := url.QueryUnescape(raw)
		switch {
		case err != nil:
			parts[i] = redacted
		case valued && isCredential(name):
			parts[i] = raw + "=" + redacted
		}
	}
	return strings.Join(parts, "&")
}
