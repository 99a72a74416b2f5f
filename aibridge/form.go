package aibridge

import (
	"iter"
	"mime"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/invokestream"
)

// isAsked reports whether an answer is to be a stream by what the request asked for, if its first bytes do not say
// otherwise. An error is a stream only if it says so.
func (x *relay) isAsked(answer *http.Response) bool {
	return x.inspected.Stream && answer.StatusCode < http.StatusBadRequest
}

// mediaType returns the media type of an answer, or "" if it tells none that can be read.
func mediaType(answer *http.Response) string {
	contentType := answer.Header.Get("Content-Type")
	if contentType == "application/json" || contentType == "text/event-stream" {
		return contentType
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return ""
	}
	return media
}

// open finds out which form an answer has. Servers name the type of a stream in many ways, and answer with one JSON
// value where a stream was asked for. So an answer is a stream if it was asked for as one or says so, and does not begin
// with a JSON value. Until that has come, the head of the answer and white space go to the client at once, but for an
// answer that says that it is JSON. Open reports whether the rest goes on as it comes, too: as a stream does, and a value of
// which nothing said that it would be one.
func (x *relay) open(answer *http.Response, round *round) (asItComes bool, err error) {
	media := mediaType(answer)
	switch {
	case media == invokestream.MediaType:
		round.beginFrames()
		return true, nil
	case media != "text/event-stream" && !x.isAsked(answer):
		round.begin(false)
		return false, nil
	case isLines(media): // Each line is a JSON value, and goes on at once.
		round.begin(true)
		return true, nil
	}
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	if !isJSON && !x.isBody() {
		if err := x.writeStreamHead(answer); err != nil {
			return true, err
		}
	}
	form, err := peek(answer, round, x.bridge.providers.copies, func(blank []byte) error {
		x.arrived(blank)
		if x.isBody() {
			return nil
		}
		if err := x.writeHeadOnce(answer); err != nil {
			return err
		}
		return x.write(blank)
	})
	round.begin(form == aStream || form != aValue && !isJSON)
	return round.isStream || !isJSON, err
}

// peek reads the beginning of an answer until it shows its form, and makes the answer's body begin with it once more, but
// for white space that it has handed on. The form is unknown if the answer has nothing but white space, or an unknown
// coding. A nil blank hands nothing on.
func peek(answer *http.Response, round *round, buffers *copyBuffers, blank func([]byte) error) (form, error) {
	look, err := newLook(round)
	if err != nil {
		return unknown, nil
	}
	defer look.close()
	begun := &replayed{ReadCloser: answer.Body, buffer: buffers.Get(), buffers: buffers}
	answer.Body = begun
	for {
		n, err := begun.ReadCloser.Read(begun.buffer[len(begun.before):])
		piece := begun.buffer[len(begun.before):][:n]
		form := look.at(piece, err != nil)
		if form == unknown && err == nil && blank != nil && !isCoded(round.coding) {
			if err := blank(piece); err != nil {
				return unknown, err
			}
			continue
		}
		begun.before, begun.err = begun.buffer[:len(begun.before)+n], err
		if form != unknown || err != nil || len(begun.before) == len(begun.buffer) {
			return form, nil
		}
	}
}

// isLines reports whether a media type is that of JSON values, one a line.
func isLines(media string) bool {
	switch media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/stream+json":
		return true
	}
	return false
}

// form is what the beginning of an answer shows.
type form int

const (
	unknown form = iota // Nothing but white space has come.
	aStream
	aValue     // A JSON value.
	unreadable // It is not in the coding that it claims.
)

// look looks at the beginning of an answer.
type look struct {
	decoder *contentcoding.Stream // Nil: it is not coded.
	mark    int                   // How much of a byte order mark has come.
}

func newLook(round *round) (l look, err error) {
	if isCoded(round.coding) {
		l.decoder, err = contentcoding.NewStream(round.coding, mostRead, round.pool)
	}
	return l, err
}

// at looks at the next bytes, or at the last ones.
func (l *look) at(p []byte, last bool) form {
	if l.decoder == nil {
		return l.plain(p)
	}
	pieces := []iter.Seq[[]byte]{l.decoder.Feed(p)}
	if last {
		pieces = append(pieces, l.decoder.End())
	}
	for _, piece := range pieces {
		for plain := range piece {
			if form := l.plain(plain); form != unknown {
				return form
			}
		}
	}
	if l.decoder.Err() != nil {
		return unreadable
	}
	return unknown
}

// byteOrderMark can stand in front of both forms.
const byteOrderMark = "\ufeff"

func (l *look) plain(p []byte) form {
	for _, c := range p {
		switch {
		case l.mark < len(byteOrderMark) && c == byteOrderMark[l.mark]:
			l.mark++
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c == '{' || c == '[' || c == '"':
			return aValue
		default:
			return aStream
		}
	}
	return unknown
}

func (l *look) close() {
	if l.decoder != nil {
		l.decoder.Close()
	}
}
