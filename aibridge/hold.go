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
// out before the records are safe: as long as that lasts, at most, the next piece or the end of the stream says whether
// it was. Where neither comes, held is sent and emptied: failed says why it could not be.
func (x *relay) readHolding(body io.ReadCloser, buffer []byte, held *[]byte) (n int, err, failed error) {
	if len(*held) == 0 {
		n, err = body.Read(buffer)
		return n, err, nil
	}
	read := make(chan error, 1)
	go func() {
		defer func() {
			if value := recover(); value != nil {
				read <- contain.Recovered(value)
			}
		}()
		n, err = body.Read(buffer)
		read <- nil
	}()
	timer := time.NewTimer(longestHold)
	defer timer.Stop()
	var panicked error
	select {
	case panicked = <-read:
	case <-timer.C:
		if failed = x.write(*held); failed != nil {
			_ = body.Close() // That ends the Read.
		}
		*held = (*held)[:0]
		panicked = <-read
	}
	if panicked != nil {
		return 0, panicked, failed
	}
	return n, err, failed
}
