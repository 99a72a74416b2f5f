package contentcoding

import (
	"bufio"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/coder/aibridged/internal/memory"
)

// errTrailing means that a body goes on after its coding has ended.
var errTrailing = errors.New("bytes after the end of the coded body")

// layer undoes one coding. It must be closed.
type layer struct {
	coding string
	in     *bufio.Reader // Most decoders read only their own bytes of it, so what follows remains and is noticed.
	left   int64         // How many bytes may still come out.
	out    io.Reader     // The decoder, or nil before the first Read.
	zstd   *zstd.Decoder // The decoder of zstd, which must be closed.
	pool   *memory.Pool
	taken  int64 // What the decoder takes of the pool's memory.
}

func newLayer(coding string, in io.Reader, limit int64, pool *memory.Pool) *layer {
	return &layer{coding: coding, in: bufio.NewReader(in), left: max(limit, 0), pool: pool}
}

// close frees what the decoder holds.
func (l *layer) close() {
	if l.zstd != nil {
		l.zstd.Close()
	}
	l.pool.Give(l.taken)
	l.taken = 0
}

// Read implements [io.Reader].
func (l *layer) Read(p []byte) (int, error) {
	if l.out == nil {
		// Peek returns the end of an empty body.
		if _, err := l.in.Peek(1); err != nil {
			return 0, err
		}
		if err := l.open(); err != nil {
			return 0, l.explain(err)
		}
	}
	if int64(len(p))-1 > l.left {
		p = p[:l.left+1] // One byte more than allowed, to see whether the body goes on.
	}
	n, err := l.out.Read(p)
	if int64(n) > l.left {
		n = int(l.left)
		l.left = 0
		return n, ErrTooLarge
	}
	l.left -= int64(n)
	return n, l.explain(err)
}

// open makes the decoder, if there is memory for its window.
func (l *layer) open() (err error) {
	window := window(l.coding, l.in)
	if err := l.pool.Take(window); err != nil {
		return err
	}
	l.taken = window
	switch l.coding {
	case "gzip":
		l.out, err = newMembers(l.in)
	case "deflate":
		l.out, err = l.inflate()
	case "br":
		l.out = brotliReader{brotli.NewReader(l.in)}
	case "zstd":
		l.zstd, err = zstd.NewReader(l.in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
		l.out = l.zstd
	}
	return err
}

// inflate makes the decoder for deflate. The standard says zlib's format, but some servers send raw deflate.
func (l *layer) inflate() (io.Reader, error) {
	head, _ := l.in.Peek(2) // If fewer bytes come, it is not zlib's format.
	if len(head) == 2 && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return zlib.NewReader(l.in)
	}
	return flate.NewReader(l.in), nil
}

// explain turns a decoder's error into this package's. At the decoder's end it returns errTrailing if the input goes
// on, except for br.
func (l *layer) explain(err error) error {
	switch {
	case errors.Is(err, io.EOF) && l.coding == "br":
		return err // See brotliReader.
	case errors.Is(err, io.EOF):
		if _, err := l.in.Peek(1); err != nil {
			return err
		}
		return errTrailing
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("%w: zstd window above %d bytes", ErrUnsupported, maxWindow)
	}
	return err
}
