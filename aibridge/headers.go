package aibridge

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/credential"
)

// The headers that tell an upstream who a request is made for, if [ProviderOptions.ActorHeaders] is set. What clients send
// under these names never goes upstream.
const (
	HeaderActorID = "X-Ai-Bridge-Actor-Id"
	// headerActorMetadata is followed by the name of a text in the actor's metadata.
	headerActorMetadata = "X-Ai-Bridge-Actor-Metadata-"
)

// extraHeader is a header that each request to a provider has.
type extraHeader struct{ name, value string }

// extraHeaders returns headers in their canonical form, in an order of their own. Its errors repeat no value.
func extraHeaders(headers map[string]string) ([]extraHeader, error) {
	var extra []extraHeader
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case !credential.Settable(canonical):
			return nil, fmt.Errorf("%q cannot be set: it is no name of a header, or one that the gateway decides about", name)
		case !isHeaderValue(headers[name]):
			return nil, fmt.Errorf("the value of %q has a line break or another control character", name)
		}
		extra = append(extra, extraHeader{canonical, headers[name]})
	}
	return extra, nil
}

func isHeaderValue(value string) bool {
	return !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

// setActor sets the headers that tell who a request is made for. A text that has other characters than printable ASCII is
// percent-encoded.
func setActor(header http.Header, actor Actor) {
	header.Set(HeaderActorID, inHeader(actor.ID))
	for name, value := range actor.Metadata {
		text, isText := value.(string)
		if isText && text != "" && credential.IsHeaderWord(name) {
			header.Set(headerActorMetadata+name, inHeader(text))
		}
	}
}

func inHeader(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
		return url.PathEscape(text)
	}
	return text
}
