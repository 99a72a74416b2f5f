package observe

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/credential"
)

// redacted takes the place of a hidden value in a file.
const redacted = "[redacted]"

// redaction hides the credentials of one exchange, wherever they stand: in a header of any name, in the URL, in what an
// upstream or an error repeats. The zero redaction knows none, and hides only what looks like one.
type redaction struct {
	secrets []string
}

// shortestSecret is how long the value of a header must be, in bytes, to be looked for elsewhere: a shorter one could be
// an ordinary word.
const shortestSecret = 8

// redactionOf returns a redaction that knows the credentials in headers.
func redactionOf(headers ...http.Header) redaction {
	var r redaction
	for _, header := range headers {
		for name, values := range header {
			if !isCredential(name) {
				continue
			}
			for _, value := range values {
				if _, key, ok := strings.Cut(value, " "); ok { // Behind a scheme.
					value = strings.TrimSpace(key)
				}
				if len(value) >= shortestSecret && !slices.Contains(r.secrets, value) {
					r.secrets = append(r.secrets, value)
				}
			}
		}
	}
	return r
}

// text returns a text without credentials.
func (r redaction) text(text string) string {
	for _, secret := range r.secrets {
		tokens := credential.Tokens{Presented: secret}
		if tokens.In(text) {
			text = tokens.Redact(strings.ReplaceAll(text, secret, redacted))
		}
	}
	return credential.Hide(text)
}

// path returns an escaped path without credentials.
func (r redaction) path(escaped string) string {
	segments := strings.Split(escaped, "/")
	for i, segment := range segments {
		segments[i] = r.text(segment)
	}
	return strings.Join(segments, "/")
}

// header returns a header without credentials, and with text that JSON can hold.
func (r redaction) header(header http.Header) http.Header {
	shown := make(http.Header, len(header))
	for name, values := range header {
		shownName := name
		if r.text(name) != name || inName(r.secrets, name) {
			shownName = redacted
		}
		for _, value := range values {
			if isCredential(name) {
				value = redacted
			} else {
				value = r.text(value)
			}
			shown[shownName] = append(shown[shownName], strings.ToValidUTF8(value, "\uFFFD"))
		}
	}
	return shown
}

// inName reports whether the name of a header holds one of the secrets.
func inName(secrets []string, name string) bool {
	return slices.ContainsFunc(secrets, func(secret string) bool { return credential.Tokens{Presented: secret}.InName(name) })
}

// requestHead returns the request line and the headers of a request, for a dump.
func (r redaction) requestHead(request *http.Request) []byte {
	var b bytes.Buffer
	path, host := r.path(request.URL.EscapedPath()), request.Host
	if request.URL.RawQuery != "" {
		path += "?" + r.query(request.URL.RawQuery)
	}
	if host == "" {
		host = request.URL.Host
	}
	fmt.Fprintf(&b, "%s %s %s\nHost: %s\n", request.Method, path, request.Proto, host)
	r.writeHeader(&b, request.Header)
	return b.Bytes()
}

// responseHead returns the status line and the headers of resp, for a dump.
func (r redaction) responseHead(resp *http.Response) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", resp.Proto, r.text(resp.Status))
	r.writeHeader(&b, resp.Header)
	return b.Bytes()
}

// errorHead returns what a dump shows where there was no response.
func (r redaction) errorHead(err error) []byte {
	return fmt.Appendf(nil, "[no response: %s]\n", r.text(err.Error()))
}

// writeHeader writes a header, in the order of its names, and the empty line after it.
func (r redaction) writeHeader(b *bytes.Buffer, header http.Header) {
	shown := r.header(header)
	for _, name := range slices.Sorted(maps.Keys(shown)) {
		for _, value := range shown[name] {
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
		[]string{"auth", "bearer", "cookie", "credential", "jwt", "key", "passw", "pwd", "secret", "signature", "token"},
		func(word string) bool { return strings.Contains(name, word) })
}

// query returns a raw query without its credentials, and the rest unchanged. It also hides a parameter whose name cannot
// be decoded.
func (r redaction) query(query string) string {
	parts := strings.FieldsFunc(query, func(c rune) bool { return c == '&' || c == ';' })
	for i, part := range parts {
		raw, _, valued := strings.Cut(part, "=")
		name, err := url.QueryUnescape(raw)
		switch {
		case err != nil:
			parts[i] = redacted
		case valued && isCredential(name):
			parts[i] = r.text(raw) + "=" + redacted
		default:
			parts[i] = r.text(part)
		}
	}
	return strings.Join(parts, "&")
}
