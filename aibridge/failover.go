package aibridge

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"

	"github.com/coder/aibridged/internal/apierror"
	"github.com/coder/aibridged/internal/breaker"
	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/keys"
)

// keyed is the choice of a provider's key for one request. Its zero value is that of a request with a caller's own key, or
// of one whose transport has the credential.
type keyed struct {
	pool   *keys.Pool // Nil: there is nothing to choose.
	ask    keys.Ask
	choice keys.Choice
}

// choose chooses a key. Its error is an *[apierror.Error].
func (k *keyed) choose() error {
	if k.pool == nil {
		return nil
	}
	choice, err := k.pool.Choose(k.ask)
	if err != nil {
		return noKey(err)
	}
	k.choice = choice
	return nil
}

// noKey returns the refusal of a request for which no key is ready.
func noKey(err error) error {
	resting, ok := errors.AsType[*keys.Resting](err)
	if !ok {
		return err
	}
	refusal := &apierror.Error{
		Status: http.StatusTooManyRequests, Text: "all keys of this provider have reached their limits: try again later", RetryAfter: resting.For, Cause: err,
	}
	switch resting.State {
	case keys.Unauthorized:
		refusal.Status, refusal.Text = http.StatusBadGateway, "the provider refuses the gateway's keys: tell its operator"
	case keys.Dead:
		refusal.Text = "the gateway's keys for this provider have no credit left or are disabled: tell its operator"
	}
	return refusal
}

// isNoKey reports whether a failure is that no key is ready.
func isNoKey(failure *apierror.Error) bool {
	_, ok := errors.AsType[*keys.Resting](failure.Cause)
	return ok
}

// next notes what an answer says of its key. Body returns the beginning of the answer's body, without its content coding.
// If the key was refused and another one is ready, next chooses that and returns true: the request can be sent again. If
// none is, it fails with an *[apierror.Error], unless there is but one key: then its own answer says it best.
func (k *keyed) next(answer *http.Response, body func() []byte) (keys.Verdict, bool, error) {
	said := keys.Answer{Status: answer.StatusCode, Header: answer.Header}
	if keys.ReadsBody(said.Status) {
		said.Body = body()
	}
	verdict := k.pool.Judge(k.choice, said)
	if !verdict.Refused {
		return verdict, false, nil
	}
	err := k.choose()
	switch {
	case err == nil:
		k.pool.FailedOver()
		return verdict, true, nil
	case k.pool.Len() == 1:
		return verdict, false, nil
	}
	return verdict, false, err
}

// storedMembers are the members of a request's body that name what it continues at the upstream: an id, or an object that
// has one.
var storedMembers = [...]string{"previous_response_id", "conversation", "thread"}

// isBound reports whether a request has, at any depth, the member whose value an upstream has encrypted for one account.
func isBound(plain []byte) bool { return bytes.Contains(plain, []byte(`"encrypted_content"`)) }

// askFor returns what a request's body asks of a key. Clients write what is bound to an account as the upstream sent it.
func askFor(model string, body jsonedit.Object, plain []byte) keys.Ask {
	ask := keys.Ask{Model: model, Bound: isBound(plain)}
	for _, name := range storedMembers {
		value, _ := body.Get(name)
		if id := idIn(value); id != "" {
			ask.Stored = id
			break
		}
	}
	return ask
}

// idIn returns the id that a JSON value is or has, or an empty string.
func idIn(value []byte) string {
	if len(value) > 0 && value[0] == '{' {
		object, err := jsonedit.Parse(value)
		if err != nil {
			return ""
		}
		value, _ = object.Get("id")
	}
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return string(value[1 : len(value)-1]) // Escapes stay: it is only compared.
}

// chooseKey chooses the key of a request of a session. It is called before the interception begins, so that its start tells
// the key, and a request for which there is none is not recorded.
func (x *relay) chooseKey(session string) error {
	if x.keyed.pool == nil {
		return nil
	}
	if session != "" && x.keyed.pool.Len() > 1 {
		x.keyed.ask.Session = CallerFromContext(x.ctx).Actor.ID + " " + session
	}
	return x.useKey(x.keyed.choose())
}

// useKey makes the key that was chosen the one of the request, unless err says that there is none.
func (x *relay) useKey(err error) error {
	if err != nil {
		return err
	}
	x.credential.use(x.keyed.choice)
	x.secrets.key = x.credential.key
	return nil
}

// continued notes, in a later round, what the request asks of another key if its own is refused: the gateway has put what an
// earlier answer said into it.
func (x *relay) continued() {
	if x.keyed.pool == nil || x.keyed.pool.Len() == 1 || x.keyed.ask.Home == x.keyed.choice {
		return
	}
	isServed := func(r *round) bool { return r.status < http.StatusMultipleChoices }
	if slices.ContainsFunc(x.rounds, isServed) {
		x.keyed.ask.Home = x.keyed.choice
		x.keyed.ask.Bound = x.keyed.ask.Bound || isBound(x.upstreamBody.bytes) || bytes.Contains(x.upstreamBody.bytes, []byte(storedMembers[0]))
	}
}

// send sends the request upstream, with another key where one is refused, and returns when an answer begins.
func (x *relay) send() (*http.Response, error) {
	x.continued()
	for {
		answer, err := x.sendOnce()
		if x.keyed.pool == nil {
			return answer, err
		}
		if err != nil {
			if x.ctx.Err() == nil {
				x.keyed.pool.Failed(x.keyed.choice)
			}
			return nil, err
		}
		var text []byte
		verdict, again, err := x.keyed.next(answer, func() (plain []byte) {
			text, plain = readRefusal(answer)
			return plain
		})
		x.bridge.tellOfKey(x.ctx, x.provider, x.credential, verdict)
		if !again && err == nil {
			return answer, nil
		}
		x.endRefused(answer, text)
		if err := x.useKey(err); err != nil {
			return nil, err
		}
	}
}

// readRefusal reads the beginning of an answer that refuses a request. It returns it as it came and without its content
// coding. The answer can still be read from its beginning.
func readRefusal(answer *http.Response) (text, plain []byte) {
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostRefusal))
	answer.Body = &replayed{before: text, err: err, ReadCloser: answer.Body}
	if coding := codingOf(answer.Header); isCoded(coding) {
		plain, _ = contentcoding.Decode(coding, text, mostRefusal, nil) // What could be decoded may say enough.
		return text, plain
	}
	return text, text
}

// endRefused ends the round of an answer that is not for the client. Text is what has been read of it.
func (x *relay) endRefused(answer *http.Response, text []byte) {
	defer func() { _ = answer.Body.Close() }()
	round := x.rounds[len(x.rounds)-1]
	round.begin(false)
	x.arrived(text)
	round.read(text)
	_ = round.finish(io.EOF)
}

// breakerOf returns the breaker of a route, or nil if it has none.
func (p *Provider) breakerOf(of route) *breaker.Breaker { return p.breakers[of.path] }

// opened returns the refusal of a request whose breaker is open, or err if it is another error.
func opened(err error) error {
	open, ok := errors.AsType[*breaker.Open](err)
	if !ok {
		return err
	}
	return &apierror.Error{
		Status: http.StatusServiceUnavailable, Text: "the upstream has been failing, and is left alone for a moment: try again", RetryAfter: open.For, Cause: err,
	}
}

// noteStored notes whose account has what the upstream may have stored of the answers.
func (x *relay) noteStored() {
	if x.keyed.pool == nil || x.keyed.pool.Len() == 1 {
		return
	}
	for _, round := range x.rounds {
		if round.status < http.StatusMultipleChoices {
			x.keyed.pool.Stores(x.keyed.choice, round.said().ID)
		}
	}
}

// noteBreak tells the breaker of an answer that broke off, unless the client or the gateway ended the request.
func (x *relay) noteBreak() {
	if n := len(x.rounds); n > 0 && x.rounds[n-1].err != nil && x.ctx.Err() == nil {
		x.provider.breakerOf(x.to.route).BrokeOff()
		x.bridge.tellOfBreaker(x.ctx, x.to)
	}
}
