package aibridge

import (
	"io"
	"net/http"

	"github.com/coder/aibridged/internal/contentcoding"
)

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
