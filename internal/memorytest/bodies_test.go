package memorytest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// body makes a request's body again for each request, and tells its length; negative: the client tells none.
type body func() (io.Reader, int64)

// filled returns a body of about size bytes: head, filling as often as it fits, tail.
func filled(head, filling, tail string, size int) body {
	times := (size - len(head) - len(tail)) / len(filling)
	whole := int64(len(head) + times*len(filling) + len(tail))
	piece := strings.Repeat(filling, max(1, 64<<10/len(filling)))
	return func() (io.Reader, int64) {
		readers := []io.Reader{strings.NewReader(head)}
		for left := times * len(filling); left > 0; left -= len(piece) {
			readers = append(readers, strings.NewReader(piece[:min(left, len(piece))]))
		}
		return io.MultiReader(append(readers, strings.NewReader(tail))...), whole
	}
}

func pictures(size int) body {
	return filled(`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"`,
		"A", `"}}]}]}`, size)
}

func prompts(size int) body {
	return filled(`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"`, "please ", `"}]}`, size)
}

// history returns a request whose size is in an answer of before, which is not recorded again.
func history(size int) body {
	return filled(`{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":"`, "certainly ", `"},{"role":"user","content":"hello"}]}`, size)
}

func elements(size int) body {
	return filled(`{"model":"m","max_tokens":1,"messages":[0`, ",0", `]}`, size)
}

func members(size int) body {
	var text bytes.Buffer
	text.WriteString(`{"model":"m","max_tokens":1,"messages":[]`)
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, `,"%x":0`, i)
	}
	text.WriteString("}")
	return func() (io.Reader, int64) { return bytes.NewReader(text.Bytes()), int64(text.Len()) }
}

func unknownLength(of body) body {
	return func() (io.Reader, int64) {
		reader, _ := of()
		return reader, -1
	}
}

func coded(coding string, of body) body {
	var text bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&text)
	if coding == "zstd" {
		w, _ = zstd.NewWriter(&text)
	}
	reader, _ := of()
	_, _ = io.Copy(w, reader)
	_ = w.Close()
	return func() (io.Reader, int64) { return bytes.NewReader(text.Bytes()), int64(text.Len()) }
}

// wideWindow returns a short body whose decoder allocates a window of 8 MiB.
func wideWindow() body {
	var text bytes.Buffer
	w, _ := zstd.NewWriter(&text, zstd.WithWindowSize(8<<20), zstd.WithSingleSegment(false))
	_, _ = io.WriteString(w, `{"model":"m","max_tokens":1,`)
	_ = w.Flush() // Else the writer knows the size, and asks for no more than that.
	_, _ = io.WriteString(w, `"messages":[]}`)
	_ = w.Close()
	return func() (io.Reader, int64) { return bytes.NewReader(text.Bytes()), int64(text.Len()) }
}
