package fakebedrock

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Key is a pair of AWS credentials, with the token of a session if they are temporary.
type Key struct {
	ID, Secret, Token string
}

// scope is what a signature must be valid for, and when.
type scope struct {
	region, service string
	now             time.Time
}

// skew is how far apart the clocks of a signer and of AWS may be.
const skew = 5 * time.Minute

const algorithm = "AWS4-HMAC-SHA256"

// checkSignature returns why the signature of a request is wrong, or nil. uri is the path and query as they stood in the
// request line. It is written from AWS's description of Signature Version 4 and shares no code with any signer.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func checkSignature(r *http.Request, uri string, body []byte, keys []Key, want scope) error {
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	if !ok {
		return errors.New("the request is not signed")
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = value
	}
	credential := strings.Split(parts["Credential"], "/")
	if len(credential) != 5 || credential[4] != "aws4_request" {
		return fmt.Errorf("credential scope %q", parts["Credential"])
	}
	if credential[2] != want.region || credential[3] != want.service {
		return fmt.Errorf("signed for %s in %s, not for %s in %s", credential[3], credential[2], want.service, want.region)
	}
	known := slices.IndexFunc(keys, func(k Key) bool { return k.ID == credential[0] })
	if known < 0 {
		return fmt.Errorf("access key %q is not known", credential[0])
	}
	key := keys[known]
	if got := r.Header.Get("X-Amz-Security-Token"); got != key.Token {
		return errors.New("the session token is not that of the access key")
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || credential[1] != date[:8] {
		return fmt.Errorf("date %q, scope of %s", date, credential[1])
	}
	if age := want.now.Sub(at); age > skew || age < -skew {
		return fmt.Errorf("signed %s ago", age)
	}
	signed := strings.Split(parts["SignedHeaders"], ";")
	if err := mustBeSigned(r, signed); err != nil {
		return err
	}
	canonical, err := canonicalRequest(r, uri, body, signed)
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(canonical))
	toSign := strings.Join([]string{algorithm, date, strings.Join(credential[1:], "/"), hex.EncodeToString(digest[:])}, "\n")
	derived := []byte("AWS4" + key.Secret)
	for _, part := range append(credential[1:], toSign) {
		mac := hmac.New(sha256.New, derived)
		mac.Write([]byte(part))
		derived = mac.Sum(nil)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(derived)), []byte(parts["Signature"])) {
		return fmt.Errorf("the signature does not match; the canonical request is\n%s", canonical)
	}
	return nil
}

// mustBeSigned returns an error if a header is not signed that must be: Host, and all that are AWS's own.
func mustBeSigned(r *http.Request, signed []string) error {
	if !slices.IsSorted(signed) || !slices.Contains(signed, "host") {
		return fmt.Errorf("signed headers %q: they must be sorted, with host", signed)
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(signed, lower) {
			return fmt.Errorf("header %s is not signed", name)
		}
	}
	return nil
}

func canonicalRequest(r *http.Request, uri string, body []byte, signed []string) (string, error) {
	path, query, _ := strings.Cut(uri, "?")
	var b strings.Builder
	b.WriteString(r.Method + "\n" + encodeAgain(path) + "\n" + canonicalQuery(query) + "\n")
	for _, name := range signed {
		values := r.Header.Values(name)
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{fmt.Sprint(r.ContentLength)}
		}
		if len(values) == 0 {
			return "", fmt.Errorf("header %s is signed and was not sent", name)
		}
		trimmed := make([]string, len(values))
		for i, value := range values {
			trimmed[i] = strings.Join(strings.Fields(value), " ")
		}
		b.WriteString(name + ":" + strings.Join(trimmed, ",") + "\n")
	}
	digest := sha256.Sum256(body)
	payload := hex.EncodeToString(digest[:])
	if claimed := r.Header.Get("X-Amz-Content-Sha256"); claimed != "" && claimed != payload {
		return "", fmt.Errorf("X-Amz-Content-Sha256 is not that of the body")
	}
	b.WriteString("\n" + strings.Join(signed, ";") + "\n" + payload)
	return b.String(), nil
}

// encodeAgain encodes a path that is already encoded once more, as all services but S3 expect.
func encodeAgain(path string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(path) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// canonicalQuery sorts the parameters. The values that clients send here need no other encoding.
func canonicalQuery(query string) string {
	if query == "" {
		return ""
	}
	parameters := strings.Split(query, "&")
	for i, parameter := range parameters {
		if !strings.Contains(parameter, "=") {
			parameters[i] += "="
		}
	}
	slices.Sort(parameters)
	return strings.Join(parameters, "&")
}
