package observe

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"cdr.dev/slog/v3"
)

const (
	// maxDumpBody is how much of one body a dump holds.
	maxDumpBody = 8 << 20
	// dumpQueue is how many finished exchanges may wait to be written.
	dumpQueue = 64
)

// Dumper is a RoundTripper that writes each exchange to files, for an operator who must see what a provider really got
// and really answered. An exchange becomes two files, NAME.request and NAME.response, of mode 0600; NAME is the time
// and a random id. Credentials are redacted, in whatever header or part of the URL they stand. In bodies they are not: a dump
// is made to show prompts. It is safe for concurrent use.
//
// A dump never delays a request. The Dumper copies bodies while they pass, and a goroutine writes them once the
// response body is closed. Where that falls behind, or the disk fails, dumps are dropped, with a log line at most once
// a minute.
type Dumper struct {
	next   http.RoundTripper
	budget *budget
	writer *background[exchangeDump]
	losses *losses
}

// Dump returns a Dumper in front of next. It creates dir, of mode 0700, when there is something to write. Dumps may hold that
// many bytes of memory until they are written. The caller must call Close.
func Dump(next http.RoundTripper, dir string, held int, logger slog.Logger) *Dumper {
	losses := &losses{logger: logger, message: "dropped dumps of upstream requests", dir: dir}
	w := dumpWriter{dir: dir, losses: losses}
	return &Dumper{
		next:   next,
		budget: &budget{left: held},
		writer: newBackground(dumpQueue, w.write, losses.tellNow),
		losses: losses,
	}
}

// Close waits until the finished dumps are written. Requests that end later pass without a dump. It can be called more
// than once.
func (d *Dumper) Close() { d.writer.close() }

// watches reports whether the transport behind the dumper watches; a dump itself needs only the request.
func (d *Dumper) watches() bool { return Watches(d.next) }

// RoundTrip implements [http.RoundTripper].
func (d *Dumper) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.writer.closed() {
		return d.next.RoundTrip(r)
	}
	redaction := redactionOf(r.Header)
	e := &exchangeTap{
		dumper:    d,
		redaction: redaction,
		began:     time.Now(),
		head:      redaction.requestHead(r),
		request:   tap{budget: d.budget},
		response:  tap{budget: d.budget},
	}
	sent := r.WithContext(r.Context()) // A copy: the caller's request must not change.
	if sent.Body != nil && sent.Body != http.NoBody {
		e.request.body.end = errUnread
		sent.Body = &tappedBody{ReadCloser: sent.Body, note: e.request.note}
		if again := r.GetBody; again != nil {
			// A transport that sends a request again reads it from its beginning.
			sent.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				if err != nil {
					return nil, err
				}
				return &tappedBody{ReadCloser: body, note: e.request.restart()}, nil
			}
		}
	}
	resp, err := d.next.RoundTrip(sent)
	if err != nil {
		e.finish(redaction.errorHead(err))
		return nil, err
	}
	resp.Request = r
	head := redaction.responseHead(resp)
	if resp.Body == http.NoBody {
		e.finish(head)
		return resp, nil
	}
	e.response.body.end = errUnread
	resp.Body = &tappedBody{ReadCloser: resp.Body, note: e.response.note, closed: func() { e.finish(head) }}
	return resp, nil
}

// exchangeTap is one exchange under way.
type exchangeTap struct {
	dumper    *Dumper
	redaction redaction
	began     time.Time
	head      []byte // The request's head.
	request   tap
	response  tap
	once      sync.Once
}

// finish hands the copies to the writer, or drops them. The transport may still be sending the request.
func (e *exchangeTap) finish(responseHead []byte) {
	e.once.Do(func() {
		dump := exchangeDump{
			began:    e.began,
			request:  message{e.head, e.request.take(), e.redaction},
			response: message{responseHead, e.response.take(), e.redaction},
			budget:   e.dumper.budget,
		}
		select {
		case e.dumper.writer.queue <- dump:
		default:
			dump.release()
			e.dumper.losses.add()
		}
	})
}

// errUnread is the end of a body that was not read to its end.
var errUnread = errors.New("not read to its end")

// body is what a tap has copied.
type body struct {
	bytes []byte
	cut   int64 // How many more bytes passed uncopied.
	end   error // The error that ended it; nil for a clean end.
}

// tap copies the beginning of a body. It is safe for concurrent use: a transport may go on sending the request's body
// after the exchange has ended.
type tap struct {
	budget *budget

	mu     sync.Mutex // guards what follows.
	body   body
	copies int // How often the body was begun again.
	taken  bool
}

func (t *tap) note(p []byte, err error) { t.noteOf(0, p, err) }

// restart drops what was copied, and returns a note for another copy of the same body. What the first one reads does not
// count any more.
func (t *tap) restart() (note func(p []byte, err error)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.copies++
	number := t.copies
	if !t.taken {
		t.budget.release(len(t.body.bytes))
		t.body = body{end: errUnread}
	}
	return func(p []byte, err error) { t.noteOf(number, p, err) }
}

func (t *tap) noteOf(number int, p []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken || number != t.copies {
		return
	}
	keep := 0
	if t.body.cut == 0 { // Bytes after a cut do not belong to the beginning.
		keep = t.budget.take(min(len(p), maxDumpBody-len(t.body.bytes)))
	}
	t.body.bytes = append(t.body.bytes, p[:keep]...)
	t.body.cut += int64(len(p) - keep)
	if err != nil && errors.Is(t.body.end, errUnread) {
		t.body.end = err
	}
}

// take returns the copy, and ends the copying.
func (t *tap) take() body {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.body
	t.body, t.taken = body{}, true
	return taken
}
