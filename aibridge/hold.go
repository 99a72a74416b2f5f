package aibridge

import (
	"io"
	"time"

	"github.com/coder/aibridged/internal/contain"
)

// longestHold is how long bytes that may be the last of an answer are held. An upstream that is at the end of its
// stream ends it within that time, and a client does not notice the wait.
const longestHold = 50 * time.Millisecond

// readNext reads the next piece of an answer. held is what came before it and may be the last of the answer: then it must
// not go out before the records are safe. So readNext waits longestHold for the next piece or the end of the stream, which
// say whether it is. If neither comes, it sends held, and waits on for the next piece. Meanwhile it keeps the client's
// stream alive, if the upstream does not. If the client takes no more, it closes the body instead. It returns what is still
// held.
func (x *relay) readNext(round *round, body io.ReadCloser, buffer, held []byte) (_ []byte, n int, err error) {
	if len(held) == 0 && !round.pings() {
		n, err = body.Read(buffer)
		return held, n, err
	}
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
	wait := longestSilence
	if len(held) > 0 {
		wait = longestHold
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-read:
			return held, n, err
		case <-timer.C:
		}
		failed := error(nil)
		if len(held) > 0 {
			failed, held = x.write(held), held[:0]
		} else {
			failed = x.breakSilence(round)
		}
		if failed != nil {
			_ = body.Close() // That ends the Read.
		}
		if failed != nil || !round.pings() {
			<-read
			return held, n, err
		}
		timer.Reset(longestSilence)
	}
}
