package aibridge

import (
	"context"
	"fmt"
	"net/http"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/keys"
)

// upstreamCredential is the credential that a request is sent upstream with.
type upstreamCredential struct {
	kind   CredentialKind
	key    string // The caller's or the provider's; empty where there is none.
	header string // The header that has the caller's own.
	of     Key    // The provider's.
}

// credentialFor returns the credential that a request will be sent with; of several keys of the provider, one is chosen
// later. It fails if there is none. The status is then 403, which says that this is final: after another status, some
// clients try again in another form.
func (p *Provider) credentialFor(header http.Header, caller Caller) (upstreamCredential, error) {
	kind, own := caller.Credential, credential.Own{}
	if kind != CredentialCentralized {
		own = credential.OwnOf(header, p.keyHeader)
	}
	if kind == CredentialBYOK || own.Header != "" {
		return upstreamCredential{kind: CredentialBYOK, key: own.Key, header: own.Header}, nil
	}
	if len(p.keys) == 0 {
		return upstreamCredential{}, &apierror.Error{
			Status: http.StatusForbidden,
			Text:   fmt.Sprintf("provider %q has no key here: bring your own, or ask its operator for one", p.name),
		}
	}
	return upstreamCredential{kind: CredentialCentralized}, nil
}

// poolFor returns the keys to choose from for a request with this credential, or nil if there is nothing to choose.
func (p *Provider) poolFor(c upstreamCredential) *keys.Pool {
	if c.kind != CredentialCentralized || len(p.keys) == 0 {
		return nil
	}
	return p.pool
}

// use makes a key of the provider the one of the credential.
func (c *upstreamCredential) use(choice keys.Choice) { c.key, c.of = choice.Secret, Key(choice.Key) }

// forward returns the header of a request as it goes upstream. Ctx is the context of the request. What the gateway sets comes last, so that a caller cannot
// remove it by naming its header in Connection.
func (c upstreamCredential) forward(ctx context.Context, header http.Header, provider *Provider, of sentRequest) http.Header {
	out := credential.Forward(header, c.header)
	if provider.complete != nil {
		provider.complete(out, of)
	}
	for _, extra := range provider.headers {
		out[extra.name] = []string{extra.value}
	}
	if provider.actor {
		setActor(out, CallerFromContext(ctx).Actor)
	}
	if c.kind == CredentialCentralized {
		provider.setKey(out, c.of)
	}
	return out
}

func (c upstreamCredential) hint() string { return credential.Hint(c.key) }
