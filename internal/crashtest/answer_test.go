package crashtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"regexp"
)

// noteAnswers returns a handler that notes the bytes of each answer of an upstream, by the model that the request names at
// its beginning.
func (l *ledger) noteAnswers(upstream http.Handler) http.Handler {
	named := regexp.MustCompile(`^\{"model":"([^"]*)"`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := make([]byte, 128)
		n, err := io.ReadFull(r.Body, head)
		rest := io.Reader(r.Body)
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			rest = failing{err}
		}
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(head[:n]), rest))
		answer := &notedAnswer{ResponseWriter: w, sum: sha256.New()}
		upstream.ServeHTTP(answer, r)
		if match := named.FindSubmatch(head[:n]); match != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.answers[string(match[1])] = bodySum{answer.bytes, hex.EncodeToString(answer.sum.Sum(nil))}
		}
	})
}

// notedAnswer sums up what is written.
type notedAnswer struct {
	http.ResponseWriter

	bytes int64
	sum   hash.Hash
}

func (a *notedAnswer) Write(data []byte) (int, error) {
	n, err := a.ResponseWriter.Write(data)
	a.bytes += int64(n)
	a.sum.Write(data[:n])
	return n, err
}

// Unwrap lets [http.ResponseController] flush.
func (a *notedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
