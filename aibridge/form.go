package aibridge

import (
	"iter"
	"mime"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/contentcoding"
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
// answer that says that it is JSON.
func (x *relay) open(answer *http.Response, round *round) error {
	media := mediaType(answer)
	switch {
	case media != "text/event-stream" && !x.isAsked(answer):
		round.begin(false)
		return nil
	case isLines(media): // Each line is a JSON value, and goes on at once.
		round.begin(true)
		return nil
	}
	isJSON := media == "application/json" || strings.HasSuffix(media, "+json")
	if !isJSON {
		if err := x.writeStreamHead(answer); err != nil {
			return err
		}
	}
	look, err := newLook(round)
	if err != nil { // The coding is unknown.
		round.begin(!isJSON)
		return nil
	}
	defer look.close()
	buffer := x.bridge.providers.copies.Get()
	defer x.bridge.providers.copies.Put(buffer)
	var before []byte
	for {
		n, err := answer.Body.Read(buffer)
		form := look.at(buffer[:n], err != nil)
		if form == unknown && err == nil && n > 0 && !isCoded(round.coding) {
			x.arrived(buffer[:n])
			if err := x.writeHeadOnce(answer); err != nil {
				return err
			}
			if err := x.write(buffer[:n]); err != nil {
				return err
			}
			continue
		}
		before = append(before, buffer[:n]...)
		if form != unknown || err != nil || len(before) > copyBytes {
			round.begin(form == aStream || form == unknown && !isJSON)
			answer.Body = &replayed{before: before, err: err, ReadCloser: answer.Body}
			return nil
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
	aValue // A JSON value.
)

// look looks at the beginning of an answer.
type look struct {
	decoder *contentcoding.Stream // Nil: it is not coded.
	mark    int                   // How much of a byte order mark has come.
}

func newLook(round *round) (*look, error) {
	l := &look{}
	if isCoded(round.coding) {
		var err error
		l.decoder, err = contentcoding.NewStream(round.coding, mostRead, round.pool)
		return l, err
	}
	return l, nil
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
		return aValue // Bytes that are not in their coding are relayed as a body.
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
