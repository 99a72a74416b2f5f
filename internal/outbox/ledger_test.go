package outbox

import (
	"maps"
	"slices"
	"strings"
)

// ledger is the owner of a queue that knows what is open: its entries are "start", "end" or something else, and a name.
// The queue makes one call at a time.
type ledger struct {
	open map[string]bool
}

// options returns options with the ledger's hooks.
func (l *ledger) options(options Options) Options {
	options.Observe, options.Head = l.observe, l.head
	return options
}

func (l *ledger) observe(kind Kind, entry []byte) {
	if l.open == nil {
		l.open = map[string]bool{}
	}
	if kind == Head {
		clear(l.open)
		for name := range strings.FieldsSeq(string(entry)) {
			l.open[name] = true
		}
		return
	}
	switch what, name, _ := strings.Cut(string(entry), " "); what {
	case "start":
		l.open[name] = true
	case "end":
		delete(l.open, name)
	}
}

// head is never empty, so that the owner learns also that nothing is open.
func (l *ledger) head() []byte { return []byte(" " + strings.Join(l.names(), " ")) }

func (l *ledger) names() []string { return slices.Sorted(maps.Keys(l.open)) }
