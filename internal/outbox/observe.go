package outbox

// Kind is what a frame of the log is to the owner of a queue: see [Options].
type Kind uint8

const (
	// Entry is an entry that was appended.
	Entry Kind = 1
	// Head is what Options.Head returned when a segment was begun.
	Head Kind = 2
	// resent is an entry that was dead and is sent again. The owner was told of it the first time.
	resent Kind = 3
)

// known reports whether a frame of this kind may be in a log.
func (k Kind) known() bool { return k >= Entry && k <= resent }

// observe tells the owner of a frame. The caller has q.appending, or is the only user of the queue.
func (q *Queue) observe(kind Kind, payload []byte) {
	if q.options.Observe != nil && kind != resent {
		q.options.Observe(kind, payload)
	}
}
