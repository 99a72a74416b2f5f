package aibridge

import (
	"bytes"
	"net/http"
)

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
	if x.keyed.pool == nil || x.keyed.pool.Len() == 1 || !x.isLater() {
		return
	}
	x.keyed.ask.Home = x.keyed.choice
	x.keyed.ask.Bound = x.keyed.ask.Bound || x.outgoing.some(func(piece []byte) bool {
		return isBound(piece) || bytes.Contains(piece, []byte(storedMembers[0]))
	})
}

// sendWithKeys sends the request upstream, with another key where one is refused, and returns when an answer begins.
func (x *relay) sendWithKeys() (*http.Response, error) {
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
