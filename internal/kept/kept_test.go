package kept

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func id() uuid.UUID { return uuid.MustParse("019ab000-0000-7000-8000-000000000001") }

// at is a time that survives encoding.
func at() time.Time { return time.Date(2026, 11, 22, 1, 2, 3, 4000, time.UTC) }

// sections returns the sections of an exchange, with its bodies in pieces of a given size.
func sections(tb testing.TB, e Exchange, piece int) []Section {
	tb.Helper()
	var all []Section
	add := func(section Section, err error) {
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, section)
	}
	pieces := func(body []byte, section func([]byte) Section) {
		for len(body) > 0 {
			n := min(piece, len(body))
			add(section(body[:n]), nil)
			body = body[n:]
		}
	}
	add(HeadSection(e.Head))
	pieces(e.Request, RequestSection)
	if e.Answer != nil {
		add(AnswerSection(*e.Answer))
		pieces(e.Response, ResponseSection)
	}
	if e.End != nil {
		add(EndSection(*e.End))
	}
	return all
}

func encode(tb testing.TB, sections ...Section) []byte {
	tb.Helper()
	encoder, err := NewEncoder()
	if err != nil {
		tb.Fatal(err)
	}
	return encoder.Append(nil, sections...)
}

// exchange returns a whole exchange with these bodies.
func exchange(request, response []byte) Exchange {
	return Exchange{
		Head: Head{
			Version: version, Interception: id(), Round: 2, Format: "chat", At: at(), RequestBytes: int64(len(request)),
			Header: http.Header{"User-Agent": {"a/1", "\" \u2028 <b>"}, "X": {""}},
		},
		Request:  request,
		Answer:   &Answer{At: at(), Status: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}},
		Response: response,
		End:      &End{At: at(), ResponseBytes: int64(len(response)), Ending: Whole},
	}
}

// TestFilesComeBack encodes exchanges in many ways, at once and piece by piece, and reads them back.
func TestFilesComeBack(t *testing.T) {
	large := bytes.Repeat([]byte("All work and no play makes Jack a dull boy.\r\n"), 3<<20/45)
	unanswered := exchange([]byte("{}"), nil)
	unanswered.Answer = nil
	unanswered.End = &End{At: at(), Ending: Broken, Cancelled: CancelledByClient, Failure: "no route", FailureStatus: 502}
	goesOn := exchange([]byte("{}"), []byte("data: 1"))
	goesOn.End = nil
	for name, want := range map[string]Exchange{
		"small":      exchange([]byte(`{"model":"m"}`), []byte("\x00\xff\n\nend 0\n")),
		"no bodies":  exchange(nil, nil),
		"large":      exchange(large, large),
		"no answer":  unanswered,
		"not at end": goesOn,
	} {
		for _, piece := range []int{1 << 30, largestSection + 1, 999_999, 64 << 10} {
			all := sections(t, want, piece)
			var pieces []byte
			for _, section := range all {
				pieces = append(pieces, encode(t, section)...)
			}
			for _, file := range [][]byte{encode(t, all...), pieces} {
				got, err := Read(iotest.OneByteReader(bytes.NewReader(file)))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if !reflect.DeepEqual(*got, want) {
					t.Errorf("%s, in pieces of %d bytes: got %.200v", name, piece, *got)
				}
			}
		}
	}
}

// compressed returns text in one zstd frame.
func compressed(tb testing.TB, text string) []byte {
	tb.Helper()
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		tb.Fatal(err)
	}
	return encoder.EncodeAll([]byte(text), nil)
}

const (
	head3  = "head 54\n{\"version\":1,\"round\":0,\"format\":\"f\",\"request_bytes\":3}\n"
	answer = "answer 14\n{\"status\":200}\n"
)

// TestReadSaysWhatIsWrong reads files that no gateway wrote, and checks the error and what is returned beside it.
func TestReadSaysWhatIsWrong(t *testing.T) {
	whole := encode(t, sections(t, exchange([]byte("abc"), []byte("def")), 1)...)
	for name, test := range map[string]struct {
		file []byte
		want string
	}{
		"empty":                   {nil, "it is empty"},
		"nothing in it":           {compressed(t, ""), "it is empty"},
		"not compressed":          {[]byte(head3), "magic number"},
		"cut":                     {whole[:len(whole)-1], "unexpected EOF"},
		"something behind it":     {append(bytes.Clone(whole), "x"...), "EOF"},
		"no section":              {compressed(t, "hello"), `no section begins with "hello"`},
		"no line":                 {compressed(t, strings.Repeat("a", 100)), `no section begins with "aaaaaaaaaaaaaaaaa"`},
		"other kind":              {compressed(t, "tail 0\n\n"), `section "tail" is out of place`},
		"no length":               {compressed(t, "head\n{}\n"), `no section begins with "head"`},
		"length twice":            {compressed(t, "head 2 2\n{}\n"), `no section begins with "head 2 2"`},
		"length with a sign":      {compressed(t, "head +2\n{}\n"), `no section begins`},
		"length with a zero":      {compressed(t, "head 02\n{}\n"), `no section begins`},
		"negative length":         {compressed(t, "head -2\n{}\n"), `no section begins`},
		"large head":              {compressed(t, "head 2097153\n{}\n"), `no section begins`},
		"large piece":             {compressed(t, head3+"request 1048577\n"), `section request has 1048577 bytes`},
		"more claimed than there": {compressed(t, head3+"request 1048576\nabc\n"), `section request: unexpected EOF`},
		"no line end":             {compressed(t, head3+"request 3\nabcd"), `section request: no line end behind it`},
		"head is no object":       {compressed(t, "head 2\n[]\n"), "cannot unmarshal array"},
		"other version":           {compressed(t, "head 13\n{\"version\":2}\n"), "version 2 is not known"},
		"no version":              {compressed(t, "head 2\n{}\n"), "version 0 is not known"},
		"two heads":               {compressed(t, head3+head3), `section "head" is out of place`},
		"request first":           {compressed(t, "request 0\n\n"), `section "request" is out of place`},
		"long request":            {compressed(t, head3+"request 4\nabcd\n"), "more than the 3 bytes that it should have"},
		"short request":           {compressed(t, head3+"request 2\nab\n"+answer), `section "answer" is out of place`},
		"response first":          {compressed(t, head3+"request 3\nabc\nresponse 0\n\n"), `section "response" is out of place`},
		"two answers":             {compressed(t, head3+"request 3\nabc\n"+answer+answer), `section "answer" is out of place`},
		"request after answer":    {compressed(t, head3+"request 3\nabc\n"+answer+"request 0\n\n"), `section "request" is out of place`},
		"other length of answer":  {compressed(t, head3+"request 3\nabc\nend 20\n{\"response_bytes\":1}\n"), "0 bytes of response, not 1"},
		"something after the end": {compressed(t, head3+"request 3\nabc\nend 2\n{}\nend 2\n{}\n"), `section "end" is out of place`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(test.file))
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}

	got, err := Read(bytes.NewReader(compressed(t, head3+"request 3\nabc\n"+answer+"response 2\nde\nrespo")))
	if err == nil || string(got.Request) != "abc" || got.Answer.Status != 200 || string(got.Response) != "de" {
		t.Errorf("of a damaged one: %+v, %v", got, err)
	}
}

// TestReadIsBounded reads files that decompress to more than the limit, and frames that ask for large windows.
func TestReadIsBounded(t *testing.T) {
	e := exchange([]byte("abc"), bytes.Repeat([]byte("0"), 3<<20))
	file := encode(t, sections(t, e, largestSection)...)
	if _, err := read(bytes.NewReader(file), 1<<20); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("got %v", err)
	}
	if _, err := read(bytes.NewReader(file), 4<<20); err != nil {
		t.Errorf("below the bound: %v", err)
	}
	var wide bytes.Buffer
	encoder, err := zstd.NewWriter(&wide, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(2*largestWindow))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * largestWindow / (1 << 20) * 2 {
		if _, err := encoder.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := encoder.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(&wide); !errors.Is(err, ErrDamaged) || !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("a wide window: %v", err)
	}
}

// TestReadOfAFailingDisk reads from a source that fails: that is not reported as damage.
func TestReadOfAFailingDisk(t *testing.T) {
	failure := errors.New("input/output error")
	file := encode(t, sections(t, exchange([]byte("abc"), nil), 1)...)
	_, err := Read(iotest.DataErrReader(readerOf(file[:len(file)/2], failure)))
	if !errors.Is(err, failure) || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func readerOf(p []byte, err error) *failing { return &failing{bytes.NewReader(p), err} }

type failing struct {
	*bytes.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	if n, err := f.Reader.Read(p); err == nil {
		return n, nil
	}
	return 0, f.err
}

// FuzzRead reads sections that no gateway wrote. What is read without an error can be written, and is the same when it
// is read again.
func FuzzRead(f *testing.F) {
	f.Add([]byte(head3 + "request 3\nabc\n" + answer + "response 1\nd\nresponse 0\n\nend 20\n{\"response_bytes\":1}\n"))
	f.Add([]byte(head3 + "request 1\na\nrequest 2\nbc\nend 2\n{}\n"))
	f.Add([]byte(head3 + "request 3\nabc"))
	f.Add([]byte("head 65\n{\"version\":1,\"header\":{\"A\":[\"\\ud800\"]},\"at\":\"2026-01-01T00:00:00+23:59\"}\n"))
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		first, err := Read(bytes.NewReader(encoder.EncodeAll(plain, nil)))
		if err != nil {
			return
		}
		second, err := Read(bytes.NewReader(encode(t, sections(t, *first, 7)...)))
		if err != nil {
			t.Fatalf("%q: %v", plain, err)
		}
		if again, err := Read(bytes.NewReader(encode(t, sections(t, *second, 1<<20)...))); err != nil || !reflect.DeepEqual(again, second) {
			t.Errorf("%+v was written, %+v read, %v", second, again, err)
		}
		if !bytes.Equal(first.Request, second.Request) || !bytes.Equal(first.Response, second.Response) {
			t.Errorf("%+v became %+v", first, second)
		}
	})
}

// FuzzDamage changes bytes of a file, or cuts it: reading either fails or returns the same.
func FuzzDamage(f *testing.F) {
	want := exchange(bytes.Repeat([]byte("ask "), 50), bytes.Repeat([]byte("data: tell\n\n"), 50))
	all := sections(f, want, 1<<20)
	file := append(encode(f, all[:2]...), encode(f, all[2:]...)...)
	f.Add(uint(0), byte(0), uint(len(file)-1))
	f.Add(uint(4), byte(4), uint(len(file)))
	f.Add(uint(len(file)-1), byte(255), uint(len(file)))
	f.Fuzz(func(t *testing.T, at uint, flip byte, length uint) {
		damaged := bytes.Clone(file)
		damaged[int(at%uint(len(file)))] ^= flip
		damaged = damaged[:min(length, uint(len(file)))]
		got, err := Read(bytes.NewReader(damaged))
		isWhole := got != nil && got.End != nil
		switch {
		case err != nil && !errors.Is(err, ErrDamaged):
			t.Errorf("an error of another kind: %v", err)
		case err == nil && isWhole && !reflect.DeepEqual(*got, want):
			t.Errorf("damaged and yet whole: %+v", got)
		case err != nil && len(damaged) == len(file) && flip == 0:
			t.Errorf("not damaged: %v", err)
		}
		if got != nil && (!bytes.HasPrefix(want.Request, got.Request) || !bytes.HasPrefix(want.Response, got.Response)) {
			t.Errorf("other bytes: %q, %q", got.Request, got.Response)
		}
	})
}

// write makes a file.
func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func place(dir string, round int) (finished, until string) { return Path(dir, id(), round) }

// TestReadFile reads every state that an exchange can have in a directory.
func TestReadFile(t *testing.T) {
	whole := exchange([]byte("abc"), []byte("def"))
	goesOn := whole
	goesOn.End = nil
	file := encode(t, sections(t, whole, 1)...)
	part := encode(t, sections(t, goesOn, 1)...)
	for name, test := range map[string]struct {
		finished, until []byte
		round           int
		want            error
		response        string
	}{
		"whole":                     {finished: file, round: 2, response: "def"},
		"under way":                 {until: part, round: 2, response: "def"},
		"torn while it was written": {until: append(bytes.Clone(part), file[:9]...), round: 2, response: "def"},
		"not renamed yet":           {until: file, round: 2, response: "def"},
		"none":                      {round: 2, want: os.ErrNotExist},
		"nothing yet":               {until: []byte{}, round: 2, want: os.ErrNotExist},
		"no head yet":               {until: file[:9], round: 2, want: os.ErrNotExist},
		"finished and empty":        {finished: []byte{}, round: 2, want: ErrDamaged},
		"finished without an end":   {finished: part, round: 2, want: ErrDamaged},
		"of another round":          {finished: file, round: 3, want: ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			finished, until := place(dir, test.round)
			if test.finished != nil {
				write(t, finished, test.finished)
			}
			if test.until != nil {
				write(t, until, test.until)
			}
			got, err := ReadFile(dir, id(), test.round)
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			if err == nil && (string(got.Response) != test.response || (got.End != nil) != (len(test.finished)+len(test.until) == len(file))) {
				t.Errorf("got %+v", got)
			}
		})
	}
	dir := t.TempDir()
	finished, _ := place(dir, 0)
	if err := os.Mkdir(finished, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(dir, id(), 0); err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
}

// TestSweep removes old files, and no files of others.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old, young := at(), at().Add(2*time.Hour)
	var stay []string
	for round, written := range map[int]time.Time{0: old, 1: young} {
		finished, _ := place(dir, round)
		_, until := place(dir, round+10)
		for _, name := range []string{finished, until} {
			write(t, name, nil)
			if err := os.Chtimes(name, written, written); err != nil {
				t.Fatal(err)
			}
			if round == 1 {
				stay = append(stay, name)
			}
		}
	}
	for _, name := range []string{
		"x" + extension, id().String() + extension, id().String() + "-0.request", id().String() + "-x" + extension,
		id().String() + "-00" + extension, strings.ToUpper(id().String()) + "-0" + extension, id().String() + "-0" + unfinished,
	} {
		name = filepath.Join(dir, name)
		write(t, name, nil)
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
		stay = append(stay, name)
	}
	if removed, err := Sweep(t.Context(), dir, at().Add(time.Hour)); removed != 2 || err != nil {
		t.Errorf("%d removed, %v", removed, err)
	}
	for _, name := range stay {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(stay) {
		t.Errorf("%d files, %v, want %d", len(entries), err, len(stay))
	}
	if removed, err := Sweep(t.Context(), filepath.Join(dir, "none"), at()); removed != 0 || err != nil {
		t.Errorf("no directory: %d removed, %v", removed, err)
	}
	if _, err := Sweep(t.Context(), stay[0], at()); err == nil {
		t.Error("a file was taken for a directory")
	}
}
