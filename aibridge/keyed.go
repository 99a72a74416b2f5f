package aibridge

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/internal/apierror"
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

// longestRefusal is how long the body of an answer that refuses a key is waited for, if there is another key.
const longestRefusal = 2 * time.Second

// next notes what an answer says of its key. Body returns the beginning of the answer's body, without its content coding.
// If the key was refused and another one is ready, next chooses that and returns true: the request can be sent again. If
// none is, it fails with an *[apierror.Error], unless there is but one key: then its own answer says it best. It also chooses
// another key and returns true if the answer says that what the request continues is of another account.
func (k *keyed) next(answer *http.Response, body func() []byte) (keys.Verdict, bool, error) {
	said := keys.Answer{Status: answer.StatusCode, Header: answer.Header}
	if keys.ReadsBody(said.Status) {
		if k.pool.Len() > 1 && said.Status != http.StatusBadRequest {
			// The status alone says enough for another key, and the answer is then not for the client.
			timer := time.AfterFunc(longestRefusal, func() { _ = answer.Body.Close() })
			defer timer.Stop()
		}
		said.Body = body()
	}
	verdict := k.pool.Judge(k.choice, said)
	if !verdict.Refused {
		return verdict, k.isElsewhere(said), nil
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

// isElsewhere notes an answer that did not refuse its key: what the request continues is of the key's account or, if the answer
// says that it is not and nothing was known of it, may be of another one. Then it chooses a key of that, and returns true.
func (k *keyed) isElsewhere(said keys.Answer) bool {
	if said.Status < http.StatusMultipleChoices {
		k.pool.Took(k.choice, k.ask)
		return false
	}
	ask, choice, ok := k.pool.ChooseElsewhere(k.ask, k.choice, said)
	if ok {
		k.ask, k.choice = ask, choice
		k.pool.FailedOver()
	}
	return ok
}

// tellOfKey writes a line to the log if the key of a request has begun to rest.
func (b *RequestBridge) tellOfKey(ctx context.Context, provider *Provider, of upstreamCredential, verdict keys.Verdict) {
	if !verdict.New {
		return
	}
	fields := []slog.Field{
		slog.F("provider", provider.name), slog.F("key", of.hint()), slog.F("state", string(verdict.State)), slog.F("rests_for", verdict.For),
	}
	switch verdict.State {
	case keys.Limited:
		b.options.Logger.Info(ctx, "a key has reached a limit", fields...)
	case keys.Dead:
		b.options.Logger.Error(ctx, "a key has no credit left or is disabled: replace it", fields...)
	default:
		b.options.Logger.Error(ctx, "a key is refused: replace it", fields...)
	}
}
