package crashtest

import (
	"path/filepath"
	"strings"
	"sync"

	"github.com/coder/aibridged/internal/outbox"
)

// machine is a computer whose power can fail. It notes all changes to the files in one directory, those of the queue
// and those of the database, in one log and in the order in which they happen. The changes are made as usual, except
// for syncs, which are only noted. It is safe for concurrent use.
//
// A machine does not model directories: both the queue and the database make theirs durable before they use them.
type machine struct {
	root       string
	durability outbox.Durability // Of the queue.

	mu     sync.Mutex
	begin  picture        // The files before the first step.
	steps  []step         // Guarded by mu.
	names  map[string]int // Guarded by mu; the numbers of the files that exist, by their paths within root.
	last   int            // Guarded by mu; the number of the newest file.
	silent bool           // It notes nothing.
}

// newMachine returns a machine whose directory holds the files of a picture. They must exist already.
func newMachine(root string, begin picture) *machine {
	m := &machine{root: root, begin: begin, names: begin.namesNow()}
	for number := range begin.files {
		m.last = max(m.last, number)
	}
	return m
}

// what is the kind of a step.
type what int

const (
	wrote     what = iota // Data to a file, at an offset.
	truncated             // A file to a size, which is the offset.
	synced                // A file's contents and size.
	created               // A file of a name.
	removed               // The name of a file.
	renamed               // A file, to another name.
	named                 // The names in a directory were synced.
)

// step is one change that a machine made.
type step struct {
	what   what
	file   int    // The file's number: a name can belong to different files.
	name   string // Within the machine's root.
	to     string
	offset int64
	data   []byte
}

// within returns a path within the machine's root.
func (m *machine) within(path string) string {
	name, err := filepath.Rel(m.root, path)
	if err != nil {
		return path
	}
	return name
}

// do makes a change and notes it, unless it fails.
func (m *machine) do(s step, change func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := change(); err != nil {
		return err
	}
	m.note(s)
	return nil
}

// open opens the file at path, and notes it if it is new. It returns the file's number.
func (m *machine) open(path string, open func() error) (number int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := open(); err != nil {
		return 0, err
	}
	name := m.within(path)
	number, known := m.names[name]
	if !known {
		m.last++
		number = m.last
		m.names[name] = number
		m.note(step{what: created, file: number, name: name})
	}
	return number, nil
}

// remove removes a file, if it is there.
func (m *machine) remove(path string, remove func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := remove(); err != nil {
		return err
	}
	name := m.within(path)
	if number, known := m.names[name]; known {
		delete(m.names, name)
		m.note(step{what: removed, file: number, name: name})
	}
	return nil
}

func (m *machine) rename(from, to string, rename func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := rename(); err != nil {
		return err
	}
	from, to = m.within(from), m.within(to)
	number := m.names[from]
	delete(m.names, from)
	m.names[to] = number
	m.note(step{what: renamed, file: number, name: from, to: to})
	return nil
}

// note notes a step. The caller has mu.
func (m *machine) note(s step) {
	if !m.silent {
		m.steps = append(m.steps, s)
	}
}

// now returns the number of steps so far.
func (m *machine) now() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.steps)
}

// all returns the steps so far.
func (m *machine) all() []step {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.steps[:len(m.steps):len(m.steps)]
}

// isQueue reports whether a name within a machine's root belongs to the queue; the others belong to the database.
func isQueue(name string) bool { return strings.HasPrefix(name, queueName+string(filepath.Separator)) }
