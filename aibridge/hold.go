package aibridge

import (
	"io"
	"time"

	"github.com/coder/aibridged/internal/contain"
)

// longestHold is how long bytes that may be the last of an answer are held. An upstream that is at the end of its
// stream ends it within that time, and a client does not notice the wait.
const longestHold = 50 * time.Millisecond

// readHolding reads the next piece of an answer. held is what came before it. If held is the last of the answer, it
// must not go out before the records are safe. So readHolding waits longestHold for the next piece or the end of the
// stream, which say whether it is. If neither comes, it sends held, and waits on for the next piece; if the client
// takes no more, it closes the body instead. It returns what is still held.
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
