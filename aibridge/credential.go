package aibridge

import (
	"fmt"
	"net/http"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
)

// upstreamCredential is the credential that a request is sent upstream with.
type upstreamCredential struct {
	kind   CredentialKind
	key    string // The caller's or the provider's; empty where there is none, or the transport has it.
	header string // The header that has the caller's own.
}

// credentialFor returns the credential that a request will be sent with. It fails if there is none. The status is then
// 403, which says that this is final: after another status, some clients try again in another form.
func (p *Provider) credentialFor(header http.Header, caller Caller) (upstreamCredential, error) {
	kind, own := caller.Credential, credential.Own{}
	if kind != CredentialCentralized {
		own = credential.OwnOf(header, p.keyHeader)
	}
	if kind == CredentialBYOK || own.Header != "" {
		return upstreamCredential{kind: CredentialBYOK, key: own.Key, header: own.Header}, nil
	}
	if p.key == "" && !p.signs {
		return upstreamCredential{}, &apierror.Error{
			Status: http.StatusForbidden,
			Text:   fmt.Sprintf("provider %q has no key here: bring your own, or ask its operator for one", p.name),
		}
	}
	return upstreamCredential{kind: CredentialCentralized, key: p.key}, nil
}

// forward returns the header of a request as it goes upstream. The provider's key is set last, so that a caller cannot
// remove it by naming its header in Connection.
func (c upstreamCredential) forward(header http.Header, provider *Provider) http.Header {
	out := credential.Forward(header, c.header)
	switch {
	case c.kind != CredentialCentralized:
	case c.key != "":
		provider.setKey(out, c.key)
	case provider.signs:
		out.Set(credential.Sign, "1")
	}
	return out
}

func (c upstreamCredential) hint() string { return credential.Hint(c.key) }
