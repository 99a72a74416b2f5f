package aibridge

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/coder/aibridged/internal/contentcoding"
	"github.com/coder/aibridged/internal/eventstream"
	"github.com/coder/aibridged/internal/invokestream"
	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/memory"
	"github.com/coder/aibridged/internal/sse"
	"github.com/coder/aibridged/internal/wire"
)

// The errors of an answer that ended in good order for HTTP, but not for its format.
var (
	errTruncated = errors.New("upstream ended its answer without the event that ends one")
	errHalf      = errors.New("upstream ended its answer in the middle of it") // Of an answer that is no stream.
)

// answerHead is what is known of an answer before its first byte.
type answerHead struct {
	status int
	coding string     // Its Content-Encoding.
	span   trace.Span // Ends with the answer's last byte.
}

// round is what one upstream answer has said so far. It sends nothing to the client.
type round struct {
	answerHead

	track    func(wire.Form, *memory.Share) wire.Tracker
	pinging  func(sse.Event) []byte // Nil: nothing need be sent in the place of an upstream that is silent.
	ping     []byte                 // What can be sent now.
	pool     *memory.Pool
	share    *memory.Share // For what the tracker keeps.
	learning *learning     // Nil: nothing is to be learnt of the answer.
	isStream bool
	tracker  wire.Tracker // Nil: the form of the answer is not known yet.
	events   sse.Splitter
	frames   *invokestream.Splitter // Of a stream of frames; nil: it is one of server-sent events.
	decoder  *contentcoding.Stream  // For a coded stream.

	cr              bool         // The last byte of a stream that is shown to the joint was a CR, after which a LF may come.
	crSeen, crAlone bool         // It is known what a line ends in that has a CR; it is a CR alone.
	joint           wire.Joint   // Is shown each event, too. Nil: the answer is not one of several rounds.
	ready           []byte       // What the joint has for the client.
	metered, parted bool         // Its usage is recorded; its calls and thoughts are.
	run             []invocation // The calls of the gateway's tools that were run.

	whole []byte          // The pool's: what has come of a value that goes on as it comes.
	value jsonedit.Prefix // The same, uncoded, as far as it shows whether the value goes on.
	bytes int64           // How many have come of a stream.
	half  bool            // Its last event ends in the middle of its JSON.

	unread bool  // It was too large or coded in an unknown way, and only relayed.
	large  *skim // Of an answer that is too large to be kept.
	cut    bool  // Its content coding, or the JSON in it, was not at its end when the answer was.
	ended  bool
	err    error        // Why it broke off; nil: it did not.
	seen   *wire.Answer // What it said; nil: nothing has asked for that yet.
}

func newRound(head answerHead, track func(wire.Form, *memory.Share) wire.Tracker, pool *memory.Pool) *round {
	return &round{answerHead: head, track: track, pool: pool, share: pool.Share(), events: sse.Splitter{Pool: pool}}
}

// begin notes the form of the answer. It is called once, before anything of the answer is noted.
func (r *round) begin(isStream bool) {
	r.isStream = isStream
	form := wire.Body
	if isStream {
		form = wire.Stream
	}
	r.tracker = r.track(form, r.share)
	if r.joint != nil {
		r.joint.Begin(form)
	}
	if isStream && isCoded(r.coding) {
		var err error
		if r.decoder, err = contentcoding.NewStream(r.coding, mostRead, r.pool); err != nil {
			r.unread = true
		}
	}
}

// beginFrames is begin for a stream of frames.
func (r *round) beginFrames() {
	r.frames = invokestream.NewSplitter(r.pool)
	r.begin(true)
}

func isCoded(coding string) bool { return contentcoding.IsCoded(coding) }

// said returns what the answer has said. It is called only when nothing more will be read.
func (r *round) said() wire.Answer {
	if r.tracker == nil {
		return wire.Answer{}
	}
	if r.seen == nil {
		seen := r.tracker.Answer()
		if r.unread && r.decoder != nil && !seen.Terminal {
			seen = wire.Answer{} // Bytes that are not in the coding that they claim may be anything.
		}
		r.seen = &seen
	}
	return *r.seen
}

// isOver reports whether the event that ends the answer has been seen. The tracker is shown nothing after it.
func (r *round) isOver() bool { return r.tracker.Ended() }

// mayEnd reports whether the bytes that came last may be the last ones.
func (r *round) mayEnd() bool {
	if !r.isStream {
		return isCoded(r.coding) || !r.value.Cut()
	}
	return r.tracker.MayEnd()
}

// follow notes the next bytes of an answer that goes on as it comes.
func (r *round) follow(p []byte) {
	r.bytes += int64(len(p))
	switch {
	case !r.isStream:
		r.collect(p)
	case !isCoded(r.coding):
		r.split(p)
	case r.decoder != nil: // Else the coding is unknown.
		for plain := range r.decoder.Feed(p) {
			r.split(plain)
		}
	}
}

// split notes the events that the next bytes of a stream complete.
func (r *round) split(plain []byte) {
	if r.frames != nil {
		r.note(r.frames.Feed(plain))
		return
	}
	if r.joint != nil {
		plain = r.withLineEnds(plain)
	}
	r.note(r.events.Feed(plain))
}

// withLineEnds keeps a CR at the end of a piece for the next one if a LF may follow: events that are hidden or held must have
// their line ends whole. None follows where the first line has ended in a CR alone, so events go on at once there.
func (r *round) withLineEnds(piece []byte) []byte {
	if r.cr && len(piece) > 0 {
		r.cr = false
		piece = append([]byte{'\r'}, piece...)
	}
	if first := bytes.IndexByte(piece, '\r'); !r.crSeen && first >= 0 && first < len(piece)-1 {
		r.crSeen, r.crAlone = true, piece[first+1] != '\n'
	}
	if end := len(piece) - 1; end >= 0 && piece[end] == '\r' && !r.crAlone {
		r.cr = true
		piece = piece[:end]
	}
	return piece
}

// rest notes the end of an answer that goes on as it comes; of a stream, also the event that no blank line ended. clean says
// that the upstream ended the answer without an error.
func (r *round) rest(clean bool) {
	if !r.isStream {
		r.readCollected(clean)
		return
	}
	if r.decoder != nil {
		for plain := range r.decoder.End() {
			r.split(plain)
		}
		if clean {
			r.undecoded(r.decoder.Err())
		}
	}
	if r.frames != nil {
		r.judgeFrames()
		return
	}
	if r.cr {
		r.note(r.events.Feed([]byte{'\r'}))
	}
	r.note(func(yield func(sse.Event) bool) {
		for event := range r.events.Flush() { // At most one.
			var json jsonedit.Prefix
			json.Feed(event.Data[bytes.LastIndexByte(event.Data, '\n')+1:])
			r.half = json.Cut()
			yield(event)
		}
	})
}

// judgeFrames notes whether a stream of frames is cut off or damaged, or could not be read.
func (r *round) judgeFrames() {
	switch err := r.frames.End(); {
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, eventstream.ErrDamaged):
		r.cut = true
	default:
		r.unread = true
	}
}

// note shows events to the tracker, up to the one that ends the answer. Where a server leaves out the blank lines, many
// events come as one, with a line of data for each.
func (r *round) note(events iter.Seq[sse.Event]) {
	for event := range events {
		if event.Data == nil || bytes.IndexByte(event.Data, '\n') < 0 || wire.IsSound(event.Data) {
			r.observe(event)
			continue
		}
		for line := range bytes.SplitSeq(event.Data, []byte("\n")) {
			r.observe(sse.Event{Raw: slices.Concat([]byte("data: "), line, []byte("\n\n")), Data: line})
		}
	}
}

func (r *round) observe(event sse.Event) {
	if r.learning != nil {
		r.learning.note(event.Data)
	}
	if r.joint != nil {
		r.ready = r.joint.Pass(r.ready, event)
	}
	if r.pinging != nil {
		r.ping = r.pinging(event)
	}
	if r.tracker.Ended() {
		return
	}
	r.tracker.Observe(event)
}

// read notes an answer that is no stream, from its whole body.
func (r *round) read(body []byte) {
	plain := body
	if isCoded(r.coding) {
		var err error
		plain, err = contentcoding.Decode(r.coding, body, mostRead, r.pool)
		defer r.pool.TakeBack(plain)
		switch {
		case errors.Is(err, contentcoding.ErrTooLarge), errors.Is(err, memory.ErrExhausted), errors.Is(err, memory.ErrNever):
			r.skip(body)
			return
		case err != nil:
			r.undecoded(err)
			return
		}
	}
	r.observe(sse.Event{Data: valueIn(plain)})
	if seen := r.said(); !seen.Terminal && !seen.Complete {
		var json jsonedit.Prefix
		json.Feed(plain)
		r.judge(&json)
	}
}

// valueIn returns the JSON value in a body. Some servers write a byte order mark before it, or the end of a stream behind it.
func valueIn(body []byte) []byte {
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte(byteOrderMark))
	if before, ok := bytes.CutSuffix(body, []byte("[DONE]")); ok {
		before = bytes.TrimSuffix(bytes.TrimRight(before, " \t"), []byte("data:"))
		return bytes.TrimSpace(before)
	}
	return body
}

// skip notes the next bytes of an answer that is no stream and too large to be read. It only looks whether the answer
// ends in the middle.
func (r *round) skip(p []byte) {
	if r.large == nil {
		r.unread = true
		r.large = newSkim(r.coding, r.pool)
	}
	r.large.feed(p)
}

// judge notes that an answer which could not be read is half of one. A model's answer is never empty. An answer with
// another status may be, and an error counts for its status, whatever is left of its text.
func (r *round) judge(json *jsonedit.Prefix) {
	r.cut = r.cut || r.status < http.StatusMultipleChoices && json.Cut() || r.status == http.StatusOK && json.Blank()
}

// undecoded notes why the content coding of an answer could not be decoded to its end. A coding that was cut off is a
// broken answer. Any other error may be the fault of the header that names the coding, or of our decoder.
func (r *round) undecoded(err error) {
	switch {
	case err == nil:
	case errors.Is(err, io.ErrUnexpectedEOF) && r.status < http.StatusMultipleChoices:
		r.cut = true
	default:
		r.unread = true
	}
}

// finish notes that the answer has ended: err is io.EOF, or says why the answer broke off. It returns io.EOF if the
// answer is to end cleanly for the client, and otherwise why it must be broken off.
func (r *round) finish(err error) error {
	if r.ended {
		return err
	}
	r.ended = true
	if !errors.Is(err, io.EOF) {
		r.err = err
	}
	if r.large != nil {
		json, err := r.large.end()
		r.undecoded(err)
		if json != nil {
			r.judge(json)
		}
	}
	seen := r.said()
	switch {
	case seen.Terminal:
		r.err = nil // The answer was whole before its connection broke.
	case r.err != nil:
	case r.cut && !r.isStream:
		r.err = errHalf
	case r.cut:
		r.err = errTruncated
	case !r.isStream || r.unread || r.status >= http.StatusMultipleChoices:
	case !seen.Complete && (seen.Known || r.half || r.bytes == 0 && r.status == http.StatusOK):
		r.err = errTruncated // Else the answer may be anything, and ends as its upstream ended it.
	}
	if r.err != nil {
		return r.err // How the interception ends says why, and the span ends with it.
	}
	r.endSpan("")
	return io.EOF
}

// abandon notes that the answer will not be read to its end, unless it has been. It decodes what has come of a coded
// stream, and notes the events in that. It does not note an incomplete event, since more of it could have come.
func (r *round) abandon() {
	if r.ended || r.decoder == nil {
		return
	}
	for plain := range r.decoder.End() {
		r.split(plain)
	}
}

// isForeign reports whether an answer that has ended in good order could be read, but is none of its API.
func (r *round) isForeign() bool {
	seen := r.said()
	return !r.unread && !seen.Terminal && !seen.Complete && seen.Failure == (wire.Failure{})
}

// endedWell reports whether the answer was read to an end in good order.
func (r *round) endedWell() bool {
	return r.status < http.StatusMultipleChoices && r.ended && r.err == nil && !r.unread && !r.isForeign() && r.said().Failure == (wire.Failure{})
}

// close frees what is held for the answer, however it ended.
func (r *round) close() {
	r.events.Close()
	if r.frames != nil {
		r.frames.Close()
	}
	r.share.Close()
	if r.whole != nil {
		r.pool.TakeBack(r.whole)
		r.whole = nil
	}
	if r.decoder != nil {
		r.decoder.Close()
	}
	if r.large != nil {
		r.large.close()
	}
}

// unreadEvents returns how many events were relayed without being understood: no record has what they said. A body that
// could not be read counts as one.
func (r *round) unreadEvents() int {
	if r.unread {
		return r.said().Unread + 1
	}
	return r.said().Unread
}
