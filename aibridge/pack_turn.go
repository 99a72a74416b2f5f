package aibridge

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
)

// smallTurn is the largest turn that is stored as it is, in bytes.
const smallTurn = 64 << 10

// packTurn returns what is stored for a turn: a large one is compressed.
func packTurn(turn []byte) []byte {
	if len(turn) <= smallTurn {
		return turn
	}
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed) // The only error is that of a level that there is not.
	_, _ = w.Write(turn)                                 // A buffer takes everything.
	_ = w.Close()
	return packed.Bytes()
}

// unpackTurn returns the turn that was stored so. One that earlier versions stored is not compressed.
func unpackTurn(stored []byte) ([]byte, error) {
	if !bytes.HasPrefix(stored, []byte{0x1f, 0x8b}) {
		return stored, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(stored))
	if err != nil {
		return nil, err
	}
	turn, err := io.ReadAll(io.LimitReader(r, largestTurn+1))
	if len(turn) > largestTurn {
		return nil, fmt.Errorf("a stored turn has more than %d bytes", largestTurn)
	}
	return turn, err
}
