package aibridge

import (
	"bytes"
	"net/http"
	"sync"
)

// UsageInStreams says whether the gateway asks for the usage of a stream for which the client has not asked. In Chat
// Completions, streams tell their usage only to those who ask.
type UsageInStreams string

const (
	// UsageAsk asks, and keeps from the client what comes only because of that. If an upstream refuses to be asked, the
	// request is sent once more as it came, and further requests for the same model are sent as they come.
	UsageAsk UsageInStreams = "ask"
	// UsageNever sends requests as they come. The tokens of a stream are then recorded only if the client asks for them.
	UsageNever UsageInStreams = "never"
)

// mostRefusal is how many bytes of an error are searched for the member that it refuses.
const mostRefusal = 256 << 10

// refusedUsage reports whether an answer refuses the member by which the gateway asked for the usage. It then has ended
// the answer's round. Otherwise, the answer can be read from its beginning.
func (x *relay) refusedUsage(answer *http.Response) bool {
	if len(x.inspected.Edits) == 0 || answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusUnprocessableEntity {
		return false
	}
	text, plain := readRefusal(answer)
	if !namesUsage(plain) {
		return false
	}
	x.endRefused(answer, text)
	return true
}

// namesUsage reports whether an error names the member by which the gateway asked, or its own member, in any spelling:
// stream_options, streamOptions, "stream options".
func namesUsage(text []byte) bool {
	text = bytes.ReplaceAll(text, []byte(`\u005f`), nil)
	letters := bytes.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return c
		case 'A' <= c && c <= 'Z':
			return c - 'A' + 'a'
		}
		return -1
	}, text)
	return bytes.Contains(letters, []byte("streamoptions")) || bytes.Contains(letters, []byte("includeusage"))
}

// withdrawUsage makes the request that goes upstream the client's own, but for tools.
func (x *relay) withdrawUsage() error {
	x.inspected.Edits, x.inspected.Withhold = nil, nil
	if len(x.toolEdits) > 0 {
		return x.rewrite(x.toolEdits)
	}
	x.plain = false
	x.outgoing.release()
	x.outgoing = unchanged(x.clientBody)
	return nil
}

// mostRefusing and longestRefusing bound what is remembered of a provider. A model beyond that costs a second request
// each time.
const (
	mostRefusing    = 1024
	longestRefusing = 256
)

// refusing is the models for which an upstream refuses to be asked for the usage. It is safe for concurrent use.
type refusing struct {
	mu     sync.Mutex
	models map[string]bool // Guarded by mu.
}

func (r *refusing) add(model string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.models) < mostRefusing && len(model) <= longestRefusing {
		if r.models == nil {
			r.models = map[string]bool{}
		}
		r.models[model] = true
	}
}

func (r *refusing) has(model string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.models[model]
}
