package eventstream_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	aws "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/coder/aibridged/internal/eventstream"
	"github.com/coder/aibridged/internal/memory"
)

// frame is what a stream is made of.
type frame struct {
	kind, payload string
}

// encode writes frames with AWS's own encoder.
func encode(t testing.TB, frames ...frame) []byte {
	t.Helper()
	var stream bytes.Buffer
	encoder := aws.NewEncoder()
	for _, f := range frames {
		message := aws.Message{Payload: []byte(f.payload)}
		message.Headers.Set("n", aws.Int32Value(7))
		message.Headers.Set(":event-type", aws.StringValue(f.kind))
		message.Headers.Set("id", aws.UUIDValue{1, 2, 3})
		message.Headers.Set("ok", aws.BoolValue(true))
		if err := encoder.Encode(&stream, message); err != nil {
			t.Fatal(err)
		}
	}
	return stream.Bytes()
}

// split feeds a stream in chunks of that size, and returns its frames, their bytes, and its fault.
func split(stream []byte, size int, pool *memory.Pool) (frames []frame, raw []byte, err error) {
	splitter := eventstream.Splitter{Pool: pool}
	defer splitter.Close()
	for len(stream) > 0 {
		n := min(size, len(stream))
		for f := range splitter.Feed(stream[:n]) {
			frames = append(frames, frame{f.Header(":event-type"), string(f.Payload)})
			raw = append(raw, f.Raw...)
		}
		stream = stream[n:]
	}
	return frames, raw, splitter.End()
}

func TestAnyChunks(t *testing.T) {
	want := []frame{{"chunk", `{"a":1}`}, {"chunk", ""}, {"large", string(bytes.Repeat([]byte("x"), 100_000))}, {"", "last"}}
	stream := encode(t, want...)
	pool := memory.New(16 << 20)
	for _, size := range []int{1, 2, 11, 12, 13, 100, 4096, len(stream) - 1, len(stream)} {
		got, raw, err := split(stream, size, pool)
		if err != nil {
			t.Fatalf("chunks of %d: %v", size, err)
		}
		if !bytes.Equal(raw, stream) || len(got) != len(want) {
			t.Fatalf("chunks of %d: %d frames of %d bytes, want %d of %d", size, len(got), len(raw), len(want), len(stream))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("chunks of %d: frame %d is of type %q", size, i, got[i].kind)
			}
		}
	}
	if used := pool.Used(); used != 0 {
		t.Errorf("%d bytes of the pool are still lent", used)
	}
}

func TestEveryCutIsSeen(t *testing.T) {
	first := encode(t, frame{"chunk", "one"})
	stream := append(bytes.Clone(first), encode(t, frame{"chunk", "two"})...)
	for end := range stream {
		frames, _, err := split(stream[:end], 7, nil)
		whole := end == 0 || end == len(first)
		if errors.Is(err, io.ErrUnexpectedEOF) == whole || err != nil && whole {
			t.Errorf("cut after %d bytes: %v", end, err)
		}
		if want := min(end/len(first), 1); len(frames) != want {
			t.Errorf("cut after %d bytes: %d frames, want %d", end, len(frames), want)
		}
	}
}

func TestEveryDamageIsSeen(t *testing.T) {
	first := encode(t, frame{"chunk", "one"})
	stream := append(bytes.Clone(first), encode(t, frame{"chunk", "two"})...)
	for at := range stream {
		for _, bit := range []byte{1, 0x80} {
			damaged := bytes.Clone(stream)
			damaged[at] ^= bit
			frames, _, err := split(damaged, 5, nil)
			if !errors.Is(err, eventstream.ErrDamaged) {
				t.Errorf("damage at byte %d: %v", at, err)
			}
			if len(frames) != at/len(first) {
				t.Errorf("damage at byte %d: %d frames", at, len(frames))
			}
		}
	}
}

func TestTooLarge(t *testing.T) {
	fits := encode(t, frame{"chunk", string(make([]byte, 16<<20))})
	if frames, _, err := split(fits, 1<<20, nil); err != nil || len(frames) != 1 {
		t.Errorf("16 MiB: %d frames, %v", len(frames), err)
	}
	pool := memory.New(1 << 20)
	if _, _, err := split(fits, 1<<20, pool); !errors.Is(err, memory.ErrExhausted) && !errors.Is(err, memory.ErrNever) {
		t.Errorf("without memory: %v", err)
	}
	if used := pool.Used(); used != 0 {
		t.Errorf("%d bytes of the pool are still lent", used)
	}
	// AWS's encoder writes larger frames than the protocol allows.
	larger := encode(t, frame{"chunk", string(make([]byte, 16<<20+1))})
	if _, _, err := split(larger, 1<<20, nil); !errors.Is(err, eventstream.ErrDamaged) {
		t.Errorf("16 MiB and a byte: %v", err)
	}
}

// FuzzSplitter checks, on any bytes, that chunks do not matter, that the frames are the bytes up to the fault, and that
// AWS's own decoder reads the same frames.
func FuzzSplitter(f *testing.F) {
	f.Add(encode(f, frame{"chunk", `{"bytes":"e30="}`}, frame{"", ""}), uint16(3))
	f.Add(encode(f, frame{"chunk", "cut"})[:20], uint16(1))
	f.Add([]byte("\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2\x48\xeb\x7d\x98\xc8\xff"), uint16(5))
	f.Fuzz(func(t *testing.T, stream []byte, size uint16) {
		whole, raw, err := split(stream, len(stream)+1, nil)
		pieces, piecesRaw, piecesErr := split(stream, int(size)+1, nil)
		if len(whole) != len(pieces) || !bytes.Equal(raw, piecesRaw) || (err == nil) != (piecesErr == nil) {
			t.Fatalf("%d frames whole, %d in pieces; %v, %v", len(whole), len(pieces), err, piecesErr)
		}
		if !bytes.HasPrefix(stream, raw) || err == nil && len(raw) != len(stream) {
			t.Fatalf("the frames are not the bytes that came")
		}
		decoder, reader := aws.NewDecoder(), bytes.NewReader(stream)
		for i, want := range whole {
			message, err := decoder.Decode(reader, nil)
			if err != nil {
				t.Fatalf("AWS does not read frame %d: %v", i, err)
			}
			if string(message.Payload) != want.payload {
				t.Fatalf("frame %d: payload %q, AWS reads %q", i, want.payload, message.Payload)
			}
			if kind, ok := message.Headers.Get(":event-type").(aws.StringValue); ok && message.Headers[0].Name == ":event-type" && string(kind) != want.kind {
				t.Fatalf("frame %d: type %q, AWS reads %q", i, want.kind, kind)
			}
		}
		if _, awsErr := decoder.Decode(reader, nil); err != nil && awsErr == nil {
			t.Fatalf("AWS reads a frame where there is a fault: %v", err)
		}
	})
}
