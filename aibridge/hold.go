package aibridge

import (
	"io"
	"time"

	"github.com/coder/aibridged/internal/contain"
)

// longestHold is how long bytes are held that may be the last ones of an answer. An upstream that means to end its
// stream does so by then; a client does not notice the wait.
const longestHold = 50 * time.Millisecond

// readHolding reads the next piece of an answer. Held is what came before it and may be all there is, which is not to go
// out before the records are safe: for a moment, the next piece or the end of the stream may say whether it was. Where
// neither comes, held is sent, unless the client takes no more. It returns what is still held.
func (x *relay) readHolding(body io.ReadCloser, buffer, held []byte) (_ []byte, n int, err error) {
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer func() {
			if value := recover(); value != nil {
				n, err = 0, contain.Recovered(value)
			}
		}()
		n, err = body.Read(buffer)
	}()
	timer := time.NewTimer(longestHold)
	defer timer.Stop()
	select {
	case <-read:
	case <-timer.C:
		if x.write(held) != nil {
			_ = body.Close() // That ends the Read.
		}
		held = held[:0]
		<-read
	}
	return held, n, err
}
