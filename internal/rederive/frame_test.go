package rederive_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// frame writes events as a stream, framed at random. It returns the bytes of each event separately.
func (d dice) frame(events []said, names bool) [][]byte {
	f := framer{dice: d, end: pick(d, "\n", "\n", "\r\n", "\r"), space: pick(d, " ", " ", ""), names: names}
	var blocks [][]byte
	if d.oneIn(20) {
		f.mark = "\uFEFF"
	}
	for i, event := range events {
		blocks = append(blocks, f.interruption()...)
		block := f.event(event)
		if i == len(events)-1 && d.oneIn(10) {
			block = strings.TrimSuffix(block, f.end) // Without a blank line,
			if d.oneIn(2) {
				block = strings.TrimSuffix(block, f.end) // or without any line end.
			}
		}
		blocks = append(blocks, []byte(block))
	}
	if len(blocks) > 0 {
		blocks[0] = append([]byte(f.mark), blocks[0]...)
	}
	return blocks
}

type framer struct {
	dice
	end   string // The line end.
	space string // The blank after the colon.
	names bool   // Events have a name.
	mark  string // A byte order mark, or "".
}

// interruption returns bytes that may stand between two events and have no meaning.
func (f framer) interruption() [][]byte {
	var blocks [][]byte
	for f.oneIn(8) {
		block := pick(f.dice,
			": a comment", ":", "event: ping\ndata: {\"type\": \"ping\"}", "id: 7\nretry: 10", "no colon here",
			"event: new_event\ndata: {\"type\":\"new_event\",\"x\":[\"ü\",{\"usage\":{\"output_tokens\":999}}]}",
			"data: not JSON", "data: {\"type\":\"ping\"", "event: ping", "data:", "data", "data: [1,2\ndata: ,3]", "event: response.new.thing\ndata: {}",
			"data: {\"object\":\"new.object\"}", "data: 7",
		)
		blocks = append(blocks, []byte(strings.ReplaceAll(block, "\n", f.end)+f.end+f.end))
	}
	return blocks
}

func (f framer) event(event said) string {
	var block strings.Builder
	field := func(name, value string) { block.WriteString(name + ":" + f.space + value + f.end) }
	if f.names && event.name != "" {
		field("event", event.name)
	}
	data, ok := event.data.(raw)
	text := string(data)
	if !ok {
		text = f.encode(event.data)
	}
	if f.oneIn(4) {
		text += strings.Repeat(" ", f.IntN(12)) // Padding.
	}
	if f.oneIn(10) {
		block.WriteString(": within" + f.end)
	}
	for line := range strings.SplitSeq(text, "\n") {
		field("data", line)
	}
	if f.oneIn(12) {
		field("id", "3")
	}
	block.WriteString(f.end)
	return block.String()
}

// coding returns the name of a content coding, most often none.
func (d dice) coding() string {
	if !d.oneIn(5) {
		return ""
	}
	return pick(d, "gzip", "deflate", "br", "zstd", "identity")
}

// coded returns body in a content coding.
func (d dice) coded(coding string, body []byte) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch coding {
	case "", "identity":
		return body
	case "gzip":
		w = gzip.NewWriter(&out)
	case "deflate":
		w = zlib.NewWriter(&out)
		if d.oneIn(2) {
			w, err = flate.NewWriter(&out, 6)
		}
	case "br":
		w = brotli.NewWriterLevel(&out, 2)
	case "zstd":
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<16))
	}
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return out.Bytes()
}
