package upstream

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/credential"
)

// mostEcho is how many bytes of an error's body are searched for secrets, with its content coding and without.
const mostEcho = 256 << 10

// HideEchoes puts the hint of each secret in its place where an answer repeats it: an error with a status from 400 on, in its
// header, its trailers and the beginning of its body, coded or not. An answer that repeats none stays as it is, byte for
// byte; so does any other answer. A body that was coded comes out without its coding, and without what could not be decoded
// of it. See [credential.WithoutEcho].
//
// It waits for the body, as far as it is searched. If the body has changed, HideEchoes returns with which bytes it began
// before, and with how many others it begins now.
func HideEchoes(answer *http.Response, secrets []string) (before []byte, now int) {
	if answer.StatusCode < http.StatusBadRequest || len(secrets) == 0 {
		return nil, 0
	}
	hideInFields(answer.Header, secrets)
	if answer.Body == nil || answer.Body == http.NoBody {
		return nil, 0
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostEcho))
	if err == nil && len(text) < mostEcho {
		err = io.EOF
	}
	hideInFields(answer.Trailer, secrets)
	plain, coded := text, false
	if coding := strings.Join(answer.Header["Content-Encoding"], ","); contentcoding.IsCoded(coding) {
		plain, _ = contentcoding.Decode(coding, text, mostEcho, nil) // What could be decoded may hold one.
		coded = true
	}
	clean := withoutEchoes(string(plain), secrets)
	switch {
	case clean == string(plain):
		answer.Body = begun(answer.Body, text, err)
		return nil, 0
	case coded:
		answer.Header.Del("Content-Encoding")
		if err == nil {
			err = io.EOF // The rest is of no use without its beginning.
		}
		setLength(answer, func(int64) int64 { return int64(len(clean)) })
	default:
		setLength(answer, func(length int64) int64 { return length + int64(len(clean)-len(text)) })
	}
	for _, name := range [...]string{"Etag", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		answer.Header.Del(name)
	}
	answer.Body = begun(answer.Body, []byte(clean), err)
	return text, len(clean)
}

func withoutEchoes(text string, secrets []string) string {
	for _, secret := range secrets {
		text = credential.WithoutEcho(text, secret)
	}
	return text
}

// hideInFields hides secrets in the values of a header, in copies, since a transport may share these. A field that has one in
// its name is removed.
func hideInFields(header http.Header, secrets []string) {
	for name, values := range header {
		if slices.ContainsFunc(secrets, func(secret string) bool { return credential.Tokens{Presented: secret}.InName(name) }) {
			delete(header, name)
			continue
		}
		for i, value := range values {
			clean := withoutEchoes(value, secrets)
			if clean == value {
				continue
			}
			values = append([]string(nil), values...)
			values[i] = clean
			header[name] = values
		}
	}
}

// setLength makes an answer announce another length, if it announced one.
func setLength(answer *http.Response, change func(length int64) int64) {
	if announced, err := strconv.ParseInt(answer.Header.Get("Content-Length"), 10, 64); err == nil {
		answer.Header.Set("Content-Length", strconv.FormatInt(change(announced), 10))
	}
	if answer.ContentLength >= 0 {
		answer.ContentLength = change(answer.ContentLength)
	}
}

// begun returns a body that gives text and then the rest, or what err says if that is not nil.
func begun(rest io.ReadCloser, text []byte, err error) io.ReadCloser {
	then := io.Reader(rest)
	if err != nil {
		then = ended{err}
	}
	return &begunBody{io.MultiReader(bytes.NewReader(text), then), rest}
}

type begunBody struct {
	io.Reader
	io.Closer
}

// ended is what can be read behind the end of a body.
type ended struct{ err error }

func (e ended) Read([]byte) (int, error) { return 0, e.err }
