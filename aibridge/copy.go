package aibridge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/upstream"
)

const (
	// mostRead is how many bytes of a JSON answer, or of a coded answer once decoded, are read for the records. A
	// larger answer is relayed, and only noted as unread; so is one for which there is no memory.
	mostRead = 64 << 20
	// copyBytes is how much of a stream is copied at a time. The transport reads no more at once, and a larger buffer
	// would only take memory, since streams wait most of the time.
	copyBytes = 4 << 10
)

// copyBuffers lends the buffers that streams are copied through. The zero value is ready. It is safe for concurrent
// use.
type copyBuffers struct{ pool sync.Pool }

// Get implements [net/http/httputil.BufferPool].
func (b *copyBuffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[copyBytes]byte); ok {
		return buffer[:]
	}
	return new([copyBytes]byte)[:]
}

// Put implements [net/http/httputil.BufferPool].
func (b *copyBuffers) Put(buffer []byte) { b.pool.Put((*[copyBytes]byte)(buffer)) }

// copyAsItComes copies a stream, or a value that came in the place of one, as it comes: each piece is noted, then
// written and flushed. The records are safe before the piece that ends the answer goes out, and before the stream ends.
func (x *relay) copyAsItComes(answer *http.Response, round *round) error {
	pass := x.passage(round)
	if err := x.writeStreamHead(answer); err != nil {
		return err
	}
	left := answer.ContentLength // How much of the announced length has not come; negative: the client is told none.
	buffer := x.bridge.providers.copies.Get()
	defer x.bridge.providers.copies.Put(buffer)
	var held []byte // Bytes that may be the last of the answer.
	for {
		var n int
		var err error
		if held, n, err = x.readNext(round, answer.Body, buffer, held); x.client.failed != nil {
			return x.client.failed
		}
		x.arrived(buffer[:n])
		pass.add(buffer[:n])
		round.follow(buffer[:n])
		if err != nil {
			pass.finish()
			round.rest(isEnd(err))
			err = round.finish(err)
		}
		left -= int64(n)
		isOver := err != nil || round.isOver()
		if isOver && round.joint != nil {
			return x.endRound(answer, round, err, append(held, pass.take()...))
		}
		if isOver {
			if lost := x.conclude(x.ctx, x.ending()); lost != nil {
				return lost
			}
		}
		piece := pass.take()
		if left == 0 && err != nil && !isEnd(err) {
			held, piece = withoutLast(held, piece)
		}
		if failed := x.write(held); failed != nil {
			return failed
		}
		held = held[:0]
		if !isOver && (left == 0 || round.mayEnd()) {
			held = append(held, piece...)
			continue
		}
		if failed := x.write(piece); failed != nil {
			return failed
		}
		switch {
		case err == nil:
		case isEnd(err):
			copyTrailer(x.client.Header(), answer)
			return nil
		default:
			return err
		}
	}
}

// passage is what the bytes of a stream go through to the client: it is given each piece, and then the end.
type passage interface {
	add(piece []byte)
	finish()
	take() []byte // The bytes for the client since the last call. They are valid until the next piece is added.
}

func (x *relay) passage(round *round) passage {
	switch {
	case round.joint != nil:
		return joinedPassing{x, round}
	case round.isStream && !isCoded(round.coding):
		return &passing{withhold: x.inspected.Withhold}
	}
	return &passing{}
}

// writeStreamHead writes the head of an answer that may be a stream, unless it has been written.
func (x *relay) writeStreamHead(answer *http.Response) error {
	if x.client.started {
		return nil
	}
	// A stream of which an event is withheld becomes shorter. And a stream of no bytes is broken off, which its client
	// could not see if it had been told to expect none.
	if x.inspected.Withhold != nil || x.joins(answer) || answer.ContentLength == 0 && answer.StatusCode == http.StatusOK {
		answer.Header.Del("Content-Length")
		answer.ContentLength = -1
	}
	if x.joins(answer) {
		if isCoded(codingOf(answer.Header)) {
			withoutDigests(answer.Header)
		}
		answer.Header.Del("Content-Encoding") // What goes to the client has been decoded.
	}
	if err := x.writeHead(answer); err != nil {
		return err
	}
	return x.client.FlushError()
}

// withoutLast takes the last byte from the last bytes of an answer. A client whose HTTP version ends an answer at its
// announced length could not see otherwise that the answer was broken off.
func withoutLast(held, piece []byte) (_, _ []byte) {
	if len(piece) > 0 {
		return held, piece[:len(piece)-1]
	}
	return held[:max(len(held)-1, 0)], piece
}

// write sends a piece of an answer at once.
func (x *relay) write(piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	if _, err := x.client.Write(piece); err != nil {
		return err
	}
	if x.provider.silent {
		x.sent.add(piece)
	}
	return x.client.FlushError()
}

// copyWhole copies an answer that is no stream, once all of it has come: half of a JSON value is of no use to a client,
// so an answer that breaks off becomes an error. Only white space in front of the value, with which an upstream keeps a
// connection alive, is sent at once.
func (x *relay) copyWhole(answer *http.Response, round *round) error {
	pool := x.provider.memory
	expected := answer.ContentLength + 1 // One byte more, so that Read finds the end without a larger buffer.
	whole, err := pool.Lend(expected)
	if err != nil {
		return x.copyLarge(answer, round, nil)
	}
	defer func() { pool.TakeBack(whole) }()
	sent := 0
	for {
		if len(whole) == cap(whole) {
			larger, err := pool.Grow(whole, expected)
			if err != nil {
				round.skip(whole)
				return x.copyLarge(answer, round, whole[sent:])
			}
			whole = larger
		}
		n, err := answer.Body.Read(whole[len(whole):cap(whole)])
		whole = whole[:len(whole)+n]
		x.arrived(whole[len(whole)-n:])
		switch {
		case isEnd(err):
			x.readWhole(round, whole)
			if err := round.finish(err); !isEnd(err) {
				return upstream.Failure(err)
			}
			if round.joint != nil {
				return x.endWhole(answer, round, whole, sent)
			}
			return x.sendWhole(answer, whole[sent:])
		case err != nil:
			_ = round.finish(err)
			return upstream.Failure(err)
		case len(whole) > mostRead:
			round.skip(whole)
			return x.copyLarge(answer, round, whole[sent:])
		case n > 0 && !isCoded(round.coding) && isBlank(whole[sent:]) && int64(len(whole)) != answer.ContentLength:
			if err := x.writeHeadOnce(answer); err != nil {
				return err
			}
			if err := x.write(whole[sent:]); err != nil {
				return err
			}
			sent = len(whole)
		}
	}
}

// readWhole notes a whole answer. The answer has been paid for, so it waits for its turn even if the client has left.
func (x *relay) readWhole(round *round, whole []byte) {
	done, err := x.provider.memory.Turn(context.WithoutCancel(x.ctx), contentcoding.Expected(round.coding, whole))
	if err != nil {
		round.skip(whole)
		return
	}
	defer done()
	round.read(whole)
}

// isBlank reports whether a piece of JSON is nothing but white space.
func isBlank(piece []byte) bool {
	for _, c := range piece {
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

// sendWhole sends what is left of an answer, once its records are safe.
func (x *relay) sendWhole(answer *http.Response, rest []byte) error {
	if err := x.conclude(x.ctx, x.ending()); err != nil {
		return unrecorded(err)
	}
	if err := x.writeHeadOnce(answer); err != nil {
		return err
	}
	if len(rest) > 0 {
		if _, err := x.client.Write(rest); err != nil {
			return err
		}
	}
	copyTrailer(x.client.Header(), answer)
	return nil
}

// copyLarge copies an answer that is too large to be read for the records, or for which there is no memory. The piece
// that came last is held until more comes, so that the client does not get the last bytes before the records are safe.
func (x *relay) copyLarge(answer *http.Response, round *round, held []byte) error {
	if err := x.writeHeadOnce(answer); err != nil {
		return err
	}
	next := make([]byte, 64<<10)
	for {
		n, err := answer.Body.Read(next)
		x.arrived(next[:n])
		round.skip(next[:n])
		if err == nil {
			if failed := x.write(held); failed != nil {
				return failed
			}
			held = append(held[:0], next[:n]...)
			continue
		}
		err = round.finish(err)
		if lost := x.conclude(x.ctx, x.ending()); lost != nil {
			return lost
		}
		last := next[:n]
		if answer.ContentLength >= 0 && errors.Is(err, errHalf) {
			held, last = withoutLast(held, last)
		}
		if failed := errors.Join(x.write(held), x.write(last)); failed != nil {
			return failed
		}
		if !isEnd(err) {
			return err
		}
		copyTrailer(x.client.Header(), answer)
		return nil
	}
}

// isEnd reports whether an error is the regular end of a body.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
