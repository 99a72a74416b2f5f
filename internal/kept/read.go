package kept

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	// largestExchange bounds the decompressed size that is read from one file.
	largestExchange = 256 << 20
	// largestJSON bounds a section that holds a JSON object. Headers have at most 256 KiB, which escapes can enlarge.
	largestJSON = 2 << 20
	// largestWindow bounds the memory that a zstd frame can ask for.
	largestWindow = 8 << 20
	// longestLine is the longest line that begins a section.
	longestLine = len(kindResponse + " 1048576\n")
)

// Read reads an exchange, at most 256 MiB of it. Its error wraps [ErrDamaged] and says what is wrong, or is the error
// of in. Read returns what could be read together with the error. Where the sections end before the end section, Read
// returns no error, and [Exchange.End] is nil.
func Read(in io.Reader) (*Exchange, error) { return read(in, largestExchange) }

func read(in io.Reader, largest int64) (*Exchange, error) {
	source := &source{in: in}
	decoder, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(largestWindow))
	if err != nil {
		return &Exchange{}, fmt.Errorf("make decoder of kept exchanges: %w", err)
	}
	defer decoder.Close()
	limited := &io.LimitedReader{R: decoder, N: largest}
	r := reader{in: bufio.NewReader(limited)}
	for err == nil {
		err = r.section()
	}
	switch {
	case errors.Is(err, io.EOF) && limited.N > 0 && r.begun:
		return &r.exchange, nil
	case source.err != nil:
		return &r.exchange, fmt.Errorf("read kept exchange: %w", source.err)
	case limited.N == 0:
		err = fmt.Errorf("it is larger than %d bytes", largest)
	case !r.begun && errors.Is(err, io.EOF):
		err = errors.New("it is empty")
	}
	return &r.exchange, fmt.Errorf("%w: %w", ErrDamaged, err)
}

// source reads a file's bytes. It tells errors of the disk from damage of the content.
type source struct {
	in  io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// reader reads sections.
type reader struct {
	in       *bufio.Reader
	begun    bool // The head has been read.
	exchange Exchange
}

// section reads the next section. It returns io.EOF, not wrapped, where there is none.
func (r *reader) section() error {
	kind, length, err := r.line()
	if err != nil {
		return err
	}
	if err := r.expect(kind); err != nil {
		return err
	}
	if length > largestSection && (kind == kindRequest || kind == kindResponse) {
		return fmt.Errorf("section %s has %d bytes", kind, length)
	}
	if err := r.read(kind, length); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("section %s: %w", kind, err)
	}
	return nil
}

// line reads the line that begins a section.
func (r *reader) line() (kind string, length int64, err error) {
	line, err := r.in.Peek(longestLine)
	end := bytes.IndexByte(line, '\n')
	switch {
	case end >= 0:
	case len(line) == 0 && errors.Is(err, io.EOF):
		return "", 0, io.EOF
	case err != nil && !errors.Is(err, io.EOF):
		return "", 0, err
	default:
		return "", 0, fmt.Errorf("no section begins with %q", line)
	}
	kind, digits, _ := strings.Cut(string(line[:end]), " ")
	length, err = strconv.ParseInt(digits, 10, 64)
	if err != nil || strconv.FormatInt(length, 10) != digits || length < 0 || length > largestJSON {
		return "", 0, fmt.Errorf("no section begins with %q", line[:end])
	}
	_, err = r.in.Discard(end + 1)
	return kind, length, err
}

// expect returns an error if a section of that kind cannot come here.
func (r *reader) expect(kind string) error {
	e := &r.exchange
	asked := r.begun && int64(len(e.Request)) == e.Head.RequestBytes
	ok := false
	switch kind {
	case kindHead:
		ok = !r.begun
	case kindRequest:
		ok = r.begun && e.Answer == nil && e.End == nil
	case kindAnswer:
		ok = asked && e.Answer == nil && e.End == nil
	case kindResponse:
		ok = e.Answer != nil && e.End == nil
	case kindEnd:
		ok = asked && e.End == nil
	}
	if !ok {
		return fmt.Errorf("section %.32q is out of place", kind)
	}
	return nil
}

// read reads the content of a section.
func (r *reader) read(kind string, length int64) (err error) {
	e := &r.exchange
	switch kind {
	case kindHead:
		if err = r.object(length, &e.Head); err == nil && e.Head.Version != version {
			err = fmt.Errorf("version %d is not known", e.Head.Version)
		}
		if r.begun = err == nil; !r.begun {
			e.Head = Head{}
		}
	case kindRequest:
		e.Request, err = r.body(e.Request, length)
		if err == nil && int64(len(e.Request)) > e.Head.RequestBytes {
			err = fmt.Errorf("more than the %d bytes that it should have", e.Head.RequestBytes)
		}
	case kindAnswer:
		var answer Answer
		if err = r.object(length, &answer); err == nil {
			e.Answer = &answer
		}
	case kindResponse:
		e.Response, err = r.body(e.Response, length)
	case kindEnd:
		var end End
		if err = r.object(length, &end); err == nil && end.ResponseBytes != int64(len(e.Response)) {
			err = fmt.Errorf("%d bytes of response, not %d", len(e.Response), end.ResponseBytes)
		}
		if err == nil {
			e.End = &end
		}
	}
	return err
}

// object reads a JSON object and the line end after it.
func (r *reader) object(length int64, into any) error {
	text, err := r.body(nil, length)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// body appends length bytes to dst, and reads the line end after them. It allocates memory only as the bytes come, not
// by the length that a section claims.
func (r *reader) body(dst []byte, length int64) ([]byte, error) {
	buffer := bytes.NewBuffer(dst)
	if _, err := io.CopyN(buffer, r.in, length); err != nil {
		return dst, err
	}
	if end, err := r.in.ReadByte(); err != nil || end != '\n' {
		return dst, errors.Join(errors.New("no line end behind it"), err)
	}
	return buffer.Bytes(), nil
}
