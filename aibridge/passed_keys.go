package aibridge

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// chooseFor chooses the key of a request that is passed through, by its path and, if that is a JSON object, its body: a limit
// of a model is one on all routes, and so is the account of what a request continues. A body that cannot be read asks for
// nothing: the upstream judges it.
func (k *keyed) chooseFor(ctx context.Context, to destination, coding string, body *body) error {
	if k.pool == nil {
		return nil
	}
	k.ask = askOfPath(k.pool, to.route, to.path)
	if len(body.bytes) > 0 && (isCoded(coding) || bytes.HasPrefix(bytes.TrimLeft(body.bytes, " \t\r\n"), []byte("{"))) {
		done, err := to.provider.memory.Turn(ctx, contentcoding.Expected(coding, body.bytes))
		if err != nil {
			return noTurn(err)
		}
		k.askOfBody(coding, body, to.provider.limits.RequestBody)
		done()
	}
	return k.choose()
}

// askOfBody adds what a body asks of a key.
func (k *keyed) askOfBody(coding string, body *body, limit int64) {
	plain, err := decodeBody(coding, body, limit)
	if err != nil {
		return
	}
	defer plain.release()
	object, err := jsonedit.Parse(plain.bytes)
	if err != nil {
		return
	}
	if value, _ := object.Get("model"); k.ask.Model == "" {
		k.ask.Model, _ = jsonedit.String(value)
	}
	if k.pool.Len() == 1 {
		return
	}
	of := askFor(k.pool, k.ask.Model, object, plain.bytes, nil)
	if k.ask.Stored != "" {
		of.Stored = k.ask.Stored
	}
	of.Seals = append(of.Seals, k.ask.Seals...)
	k.ask = of
}

// learnsCreated reports whether an answer on a route may have the id of what the upstream has stored for an account, so that
// later requests for that must go there.
func (k *keyed) learnsCreated(of route) bool {
	return k.pool != nil && k.pool.Len() > 1 && of.method == http.MethodPost && (of.opened || of.creates)
}

// mostCreated is how many bytes of an answer are searched for the id of what it has created.
const mostCreated = 4 << 10

// followCreated makes the id in an answer be learnt before the client gets it.
func (k *keyed) followCreated(answer *http.Response) {
	if learning := k.learnFrom(answer.StatusCode); learning != nil && !isCoded(codingOf(answer.Header)) {
		answer.Body = &created{ReadCloser: answer.Body, learning: learning}
	}
}

// created is the body of an answer whose id is to be learnt.
type created struct {
	io.ReadCloser

	learning *learning
	begun    []byte // The beginning of the answer, until its id has come.
}

// Read implements [io.Reader].
func (c *created) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.learning == nil {
		return n, err
	}
	c.begun = append(c.begun, p[:min(n, mostCreated-len(c.begun))]...)
	id := wire.BeginningID(c.begun)
	c.learning.pool.Stores(c.learning.choice, id)
	if id != "" || len(c.begun) >= mostCreated {
		c.learning, c.begun = nil, nil
	}
	return n, err
}
