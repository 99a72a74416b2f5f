package aibridge

import (
	"net/http"

	"github.com/coder/aibridged/internal/credential"
	"github.com/coder/aibridged/internal/upstream"
)

// echoes are the secrets of the gateway that an upstream is sent, and might repeat. What a transport adds, it hides itself.
type echoes struct {
	headers []string // Of the headers of the configuration that belong to a credential.
	all     []string // These and the keys.
}

func echoesOf(keys []Key, headers []extraHeader) echoes {
	var e echoes
	for _, extra := range headers {
		if len(extra.value) >= credential.ShortestEcho && credential.BelongsToCredential(extra.name) {
			e.headers = append(e.headers, extra.value)
		}
	}
	e.all = append(e.all, e.headers...)
	for _, key := range keys {
		if len(key.Secret) >= credential.ShortestEcho {
			e.all = append(e.all, key.Secret)
		}
	}
	return e
}

// hide hides the gateway's secrets in an error that goes to a client, and returns what [upstream.HideEchoes] does. A caller's
// own key is the caller's, and stays.
func (e echoes) hide(answer *http.Response, kind CredentialKind) (before []byte, now int) {
	if kind == CredentialBYOK {
		return upstream.HideEchoes(answer, e.headers)
	}
	return upstream.HideEchoes(answer, e.all)
}

// hideEchoes hides the gateway's secrets in an answer. What is recorded of its bytes is what the upstream sent.
func (x *relay) hideEchoes(answer *http.Response, round *round) {
	before, now := x.provider.echoes.hide(answer, x.credential.kind)
	if before == nil {
		return
	}
	round.coding = codingOf(answer.Header)
	x.arrived(before)
	x.notReceived = now
}
