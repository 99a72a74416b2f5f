package contentcoding_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/coder/aibridged/internal/contentcoding"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is a typical body: text, long enough for several blocks.
var plain = func() []byte {
	var b bytes.Buffer
	for i := range 4000 {
		fmt.Fprintf(&b, `{"type":"content_block_delta","index":%d,"delta":{"text":"%x"}}`, i, i*i*7919)
	}
	return b.Bytes()
}()

// encode applies codings in their order, with a flush half-way, as in a stream. "raw" is deflate without its wrapping;
// zstd uses the window of its usual levels.
func encode(t testing.TB, body []byte, codings ...string) []byte {
	t.Helper()
	for _, coding := range codings {
		var b bytes.Buffer
		var w interface {
			io.WriteCloser
			Flush() error
		}
		var err error
		switch coding {
		case "gzip":
			w = gzip.NewWriter(&b)
		case "deflate":
			w = zlib.NewWriter(&b)
		case "raw":
			w, err = flate.NewWriter(&b, flate.DefaultCompression)
		case "br":
			w = brotli.NewWriter(&b)
		case "zstd":
			w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(2<<20))
		}
		if err != nil {
			t.Fatal(err)
		}
		for half := range slices.Chunk(body, max(len(body)+1, 2)/2) {
			_, writeErr := w.Write(half)
			err = errors.Join(err, writeErr, w.Flush())
		}
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		body = b.Bytes()
	}
	return body
}

func label(coding string) string {
	if coding == "raw" {
		return "deflate"
	}
	return coding
}

var codings = []string{"gzip", "deflate", "raw", "br", "zstd"}

func TestDecode(t *testing.T) {
	tests := []struct {
		encoding string
		codings  []string
	}{
		{"gzip", []string{"gzip"}},
		{"x-gzip", []string{"gzip"}},
		{" GZip\t", []string{"gzip"}},
		{"deflate", []string{"deflate"}},
		{"deflate", []string{"raw"}},
		{"br", []string{"br"}},
		{"zstd", []string{"zstd"}},
		{"gzip, br", []string{"gzip", "br"}},
		{"gzip,identity,,br", []string{"gzip", "br"}},
		{"identity, zstd", []string{"zstd"}},
		{"gzip, gzip", []string{"gzip", "gzip"}},
		{"deflate, deflate, deflate", []string{"raw", "deflate", "raw"}},
		{"br, zstd, gzip", []string{"br", "zstd", "gzip"}},
		{"zstd, zstd, zstd", []string{"zstd", "zstd", "zstd"}},
	}
	for _, test := range tests {
		t.Run(test.encoding, func(t *testing.T) {
			coded := encode(t, plain, test.codings...)
			before := bytes.Clone(coded)
			got, err := contentcoding.Decode(test.encoding, coded, int64(len(plain)), nil)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(plain))
			}
			if !bytes.Equal(coded, before) {
				t.Error("the body was changed")
			}
			if got, err = contentcoding.Decode(test.encoding, nil, 0, nil); err != nil || len(got) != 0 {
				t.Errorf("empty body: %q, %v", got, err)
			}
			got, err = contentcoding.Decode(test.encoding, encode(t, nil, test.codings...), math.MaxInt64, nil)
			if err != nil || len(got) != 0 {
				t.Errorf("coded empty body: %q, %v", got, err)
			}
		})
	}
}

func TestNothingToUndo(t *testing.T) {
	for _, encoding := range []string{"", "identity", "Identity", " , identity,"} {
		got, err := contentcoding.Decode(encoding, plain, 1, nil)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%q: %d bytes, %v; want what the body has", encoding, len(got), err)
		}
		if contentcoding.IsCoded(encoding) {
			t.Errorf("%q counts as a coding", encoding)
		}
	}
}

func TestUnsupported(t *testing.T) {
	wide, err := zstd.NewWriter(nil, zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	var wideBody bytes.Buffer
	wide.Reset(&wideBody)
	_, err = wide.Write(plain)
	if err := errors.Join(err, wide.Flush(), wide.Close()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		encoding string
		body     []byte
	}{
		{"compress", plain},
		{"gzip;q=1", plain},
		{"gzip br", plain},
		{"gzip, unknown", plain},
		{"*", plain},
		{"gzip, gzip, gzip, gzip", plain},
		{strings.Repeat("x", 10000), plain},
		{"zstd", wideBody.Bytes()},
	}
	for _, test := range tests {
		got, err := contentcoding.Decode(test.encoding, test.body, math.MaxInt64, nil)
		if !errors.Is(err, contentcoding.ErrUnsupported) || len(got) != 0 {
			t.Errorf("%.32q: %d bytes, %v", test.encoding, len(got), err)
		} else if len(err.Error()) > 200 {
			t.Errorf("%.32q: an error of %d bytes", test.encoding, len(err.Error()))
		}
	}
}

// Faults 17 and 31: a body that is not in the coding that it claims is an error, and is never taken for text.
func TestWrongLabel(t *testing.T) {
	bodies := map[string][]byte{
		"json":  []byte(`{"model":"m","messages":[{"role":"user","content":"What is the time?"}]}`),
		"html":  []byte("<html><head><title>502 Bad Gateway</title></head><body></body></html>"),
		"text":  []byte("upstream connect error or disconnect/reset before headers"),
		"sse":   []byte("event: message_start\ndata: {\"type\":\"message_start\"}\n\n"),
		"zeros": make([]byte, 100),
		"ones":  bytes.Repeat([]byte{0xff}, 100),
	}
	for _, coding := range codings {
		bodies[coding] = encode(t, plain, coding)
	}
	for name, body := range bodies {
		for _, coding := range codings {
			if label(coding) == label(name) {
				continue
			}
			got, err := contentcoding.Decode(label(coding), body, 1<<20, nil)
			if err == nil {
				t.Errorf("%s labelled %s: decoded to %.32q", name, label(coding), got)
			}
		}
	}
}

// A body that is cut off gives the bytes before the cut, and an error.
func TestTruncated(t *testing.T) {
	stacks := [][]string{{"gzip", "br"}, {"br", "zstd"}, {"zstd", "raw", "gzip"}}
	for _, coding := range codings {
		stacks = append(stacks, []string{coding})
	}
	for _, stack := range stacks {
		t.Run(fmt.Sprint(stack), func(t *testing.T) {
			whole := encode(t, plain, stack...)
			var labels []string
			for _, coding := range stack {
				labels = append(labels, label(coding))
			}
			longest := 0
			for _, n := range []int{1, 2, 3, 5, 9, 10, 11, len(whole) / 2, len(whole) * 9 / 10, len(whole) - 1} {
				got, err := contentcoding.Decode(strings.Join(labels, ", "), whole[:n], 1<<20, nil)
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%d of %d bytes: %v", n, len(whole), err)
				}
				if !bytes.HasPrefix(plain, got) {
					t.Errorf("%d of %d bytes: what was decoded is not the beginning", n, len(whole))
				}
				longest = max(longest, len(got))
			}
			if longest == 0 {
				t.Error("nothing was decoded of any cut body")
			}
		})
	}
}

func TestTrailingBytes(t *testing.T) {
	for _, coding := range codings {
		if coding == "br" {
			continue // Its decoder cannot tell.
		}
		for _, extra := range []string{"\x00", "x", `{"model":"other"}`} {
			body := append(encode(t, plain, coding), extra...)
			got, err := contentcoding.Decode(label(coding), body, 1<<20, nil)
			if err == nil || !bytes.HasPrefix(plain, got) {
				t.Errorf("%s and %q: %d bytes, %v", coding, extra, len(got), err)
			}
			body = encode(t, body, "gzip")
			if _, err := contentcoding.Decode(label(coding)+", gzip", body, 1<<20, nil); err == nil {
				t.Errorf("%s and %q, gzip: no error", coding, extra)
			}
		}
	}
}

// TestTrailingIsNotCut is about bytes behind a whole coded body, which are not taken for a body that is cut off. There are
// two exceptions: the decoder of zstd takes up to three bytes for the beginning of another frame, and br's takes no notice.
func TestTrailingIsNotCut(t *testing.T) {
	for _, coding := range codings {
		for _, behind := range []string{"m", "mo", "mor", "more", "more and more", "more, and so much that every header would be whole"} {
			if coding == "br" || coding == "zstd" && len(behind) < 4 {
				continue
			}
			body := append(encode(t, plain, coding), behind...)
			got, err := contentcoding.Decode(label(coding), body, 1<<30, nil)
			if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, %q behind it: error %v", coding, behind, err)
			}
			if len(got) != len(plain) {
				t.Errorf("%s, %q behind it: %d bytes, want %d", coding, behind, len(got), len(plain))
			}
		}
	}
}

// TestMembers is about a gzip body of several members, whole and cut off anywhere in the second.
func TestMembers(t *testing.T) {
	first, second := encode(t, []byte("one, "), "gzip"), encode(t, []byte("two"), "gzip")
	for cut := range len(second) + 1 {
		got, err := contentcoding.Decode("gzip", append(append([]byte{}, first...), second[:cut]...), 1<<30, nil)
		switch isWhole := cut == 0 || cut == len(second); {
		case isWhole && err != nil, !isWhole && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Errorf("%d bytes of the second: error %v", cut, err)
		case cut == len(second) && string(got) != "one, two":
			t.Errorf("got %q", got)
		}
	}
}

// TestBrotliLastByteAlone is about a body of several flushes whose last byte comes alone. The decoder takes that for a byte
// behind the body.
func TestBrotliLastByteAlone(t *testing.T) {
	coded, err := os.ReadFile("testdata/last-byte-alone.br")
	if err != nil {
		t.Fatal(err)
	}
	want, err := contentcoding.Decode("br", coded, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 2, 3, len(coded) - 1} {
		s, err := contentcoding.NewStream("br", 1<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for chunk := range slices.Chunk(coded, size) {
			for piece := range s.Feed(chunk) {
				got = append(got, piece...)
			}
		}
		for piece := range s.End() {
			got = append(got, piece...)
		}
		if s.Err() != nil || !bytes.Equal(got, want) {
			t.Errorf("in chunks of %d: %d bytes, want %d; error %v", size, len(got), len(want), s.Err())
		}
		s.Close()
	}
}

// Two gzip members or zstd frames are one body, as their formats say.
func TestConcatenated(t *testing.T) {
	for _, coding := range []string{"gzip", "zstd"} {
		body := slices.Concat(encode(t, []byte("one "), coding), encode(t, []byte("two"), coding))
		got, err := contentcoding.Decode(coding, body, 7, nil)
		if err != nil || string(got) != "one two" {
			t.Errorf("%s: %q, %v", coding, got, err)
		}
		got, err = contentcoding.Decode(coding, body, 6, nil)
		if !errors.Is(err, contentcoding.ErrTooLarge) || string(got) != "one tw" {
			t.Errorf("%s above the limit: %q, %v", coding, got, err)
		}
	}
}

func TestLimit(t *testing.T) {
	for _, coding := range codings {
		body := encode(t, plain, coding)
		for _, limit := range []int64{-1, 0, 1, 511, 512, 513, 65536, int64(len(plain)) - 1} {
			got, err := contentcoding.Decode(label(coding), body, limit, nil)
			want := plain[:max(limit, 0)]
			if !errors.Is(err, contentcoding.ErrTooLarge) || !bytes.Equal(got, want) {
				t.Errorf("%s, limit %d: %d bytes, %v", coding, limit, len(got), err)
			}
		}
		for _, limit := range []int64{int64(len(plain)), int64(len(plain)) + 1, math.MaxInt64} {
			got, err := contentcoding.Decode(label(coding), body, limit, nil)
			if err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, limit %d: %d bytes, %v", coding, limit, len(got), err)
			}
		}
	}
}

// Faults 17 and 31: decoding a bomb stops at the limit, also if only an inner coding is too large, and takes no more
// memory than the limit requires.
func TestBomb(t *testing.T) {
	const limit = 1 << 20
	zeros := make([]byte, 8<<20)
	for _, coding := range codings {
		bomb := encode(t, zeros, coding)
		double := encode(t, bomb, "gzip")
		emptied := encode(t, encode(t, bytes.Repeat(encode(t, nil, "gzip"), 1<<17), "gzip"), coding)
		tests := []struct {
			encoding string
			body     []byte
			want     int
		}{
			{label(coding), bomb, limit},
			{label(coding) + ", gzip", double, limit},
			{"gzip, gzip, " + label(coding), emptied, 0}, // Very many empty members: a large input with an empty output.
		}
		for _, test := range tests {
			t.Run(coding+" as "+test.encoding, func(t *testing.T) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				got, err := contentcoding.Decode(test.encoding, test.body, limit, nil)
				runtime.ReadMemStats(&after)
				if !errors.Is(err, contentcoding.ErrTooLarge) || len(got) != test.want {
					t.Errorf("%d bytes of %d, %v", len(got), len(test.body), err)
				}
				// The largest window is brotli's, 16 MiB.
				if took := after.TotalAlloc - before.TotalAlloc; took > 24<<20 {
					t.Errorf("took %d bytes", took)
				}
			})
		}
	}
}

// For any bytes, Decode does not panic and keeps the limit, and what it accepts equals the output of the coding's own
// reader.
func FuzzDecode(f *testing.F) {
	for _, coding := range codings {
		body := encode(f, []byte("data: some text, some text\n\n"), coding)
		f.Add(label(coding), body, uint16(100))
		f.Add(label(coding), body[:len(body)-3], uint16(100))
		f.Add(label(coding)+", gzip", encode(f, body, "gzip"), uint16(100))
	}
	f.Fuzz(func(t *testing.T, encoding string, body []byte, limit uint16) {
		got, err := contentcoding.Decode(encoding, body, int64(limit), nil)
		if bytes.Equal(got, body) {
			return // Possibly no coding at all.
		}
		if len(got) > int(limit) {
			t.Fatalf("%q: %d bytes, limit %d", encoding, len(got), limit)
		}
		if err != nil {
			return
		}
		again, err := contentcoding.Decode(encoding, body, math.MaxInt64, nil)
		if err != nil || !bytes.Equal(got, again) {
			t.Fatalf("%q: %q within the limit, %q without, %v", encoding, got, again, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, coding := range codings {
		b.Run(coding, func(b *testing.B) {
			body := encode(b, plain, coding)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := contentcoding.Decode(label(coding), body, 1<<20, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
