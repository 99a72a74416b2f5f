package inproc

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// respond makes the client's response with header, which it may change.
func (w *writer) respond(header http.Header) {
	w.length = contentLength(header)
	if encoding := header.Get("Transfer-Encoding"); encoding != "" && encoding != "identity" {
		w.length = -1 // A body with both framings is framed by the transfer coding, so the declared length does not count.
	}
	header.Del("Transfer-Encoding")
	header.Del("Connection") // There is none to end.
	if w.length < 0 || !bodyAllowed(w.status) {
		header.Del("Content-Length")
	}
	if w.status == http.StatusNotModified {
		header.Del("Content-Type")
	}
	w.response = &http.Response{
		Status:        statusLine(w.status),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          http.NoBody,
		ContentLength: w.length,
	}
	if !bodyAllowed(w.status) {
		w.response.ContentLength = 0
	}
	if !w.hasBody() || w.length == 0 {
		return
	}
	w.pipe.left = w.length
	if w.length < 0 {
		w.announceTrailers()
	}
	w.response.Body = &outgoing{w}
}

// announceTrailers tells the client the names of the trailers that the handler announced.
func (w *writer) announceTrailers() {
	for _, list := range w.response.Header["Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			switch name {
			case "", "Transfer-Encoding", "Content-Length", "Trailer":
				continue // Trailers must not change the framing of the body.
			}
			w.trailers = append(w.trailers, name)
			if w.response.Trailer == nil {
				w.response.Trailer = make(http.Header)
			}
			w.response.Trailer[name] = nil
		}
	}
	w.response.Header.Del("Trailer")
}

func statusLine(status int) string {
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	return fmt.Sprintf("%03d %s", status, text)
}

// outgoing is the body of the client's response.
type outgoing struct{ w *writer }

func (b *outgoing) Read(p []byte) (int, error) {
	if caller := b.w.caller; caller.Err() != nil {
		b.w.pipe.abort(context.Cause(caller)) // Also drops what the handler still offers.
	}
	n, err := b.w.pipe.read(p)
	if err == io.EOF {
		b.setTrailer()
	}
	return n, err
}

func (b *outgoing) setTrailer() {
	for name, values := range b.w.pipe.takeTrailer() {
		if b.w.response.Trailer == nil {
			b.w.response.Trailer = make(http.Header)
		}
		b.w.response.Trailer[name] = values
	}
}

// Close ends the handler's context, unless the body has been read to its end. It does not wait for the handler.
func (b *outgoing) Close() error {
	if b.w.pipe.closeRead() {
		b.w.cancel(errBodyClosed)
	}
	return nil
}
