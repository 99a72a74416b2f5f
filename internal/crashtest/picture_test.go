package crashtest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// picture is what the disk of a machine holds, and the changes that only its cache holds.
type picture struct {
	files   map[int]*file
	names   map[string]int // The names that are on the disk.
	renamed []step         // Changes of names that may be on the disk or not.
}

// file is a file without its name.
type file struct {
	synced   contents
	unsynced []step // Changes that may be on the disk or not.
}

// contents are the contents of a file: data, followed by zeros up to size.
type contents struct {
	data []byte
	size int64
}

func (c contents) clone() contents { return contents{slices.Clone(c.data), c.size} }

func newPicture() picture { return picture{files: map[int]*file{}, names: map[string]int{}} }

// clone returns a copy that further steps do not change.
func (p picture) clone() picture {
	c := picture{files: make(map[int]*file, len(p.files)), names: maps.Clone(p.names), renamed: slices.Clone(p.renamed)}
	for number, f := range p.files {
		c.files[number] = &file{f.synced.clone(), slices.Clone(f.unsynced)}
	}
	return c
}

// apply applies a step.
func (p *picture) apply(s step) {
	switch s.what {
	case wrote, truncated:
		p.files[s.file].unsynced = append(p.files[s.file].unsynced, s)
	case synced:
		f := p.files[s.file]
		for _, change := range f.unsynced {
			f.synced.change(change)
		}
		f.unsynced = nil
	case created:
		p.files[s.file] = &file{}
		p.renamed = append(p.renamed, s)
	case removed, renamed:
		p.renamed = append(p.renamed, s)
	case named:
		p.renamed = slices.DeleteFunc(p.renamed, func(change step) bool {
			isIn := filepath.Dir(change.name) == s.name || change.what == renamed && filepath.Dir(change.to) == s.name
			if isIn {
				rename(p.names, change)
			}
			return isIn
		})
	}
}

// namesNow returns the names as a process sees them.
func (p *picture) namesNow() map[string]int {
	names := maps.Clone(p.names)
	for _, change := range p.renamed {
		rename(names, change)
	}
	return names
}

// change applies a write or a truncation.
func (c *contents) change(s step) {
	if s.what == truncated {
		c.data, c.size = c.data[:min(int64(len(c.data)), s.offset)], s.offset
		return
	}
	end := s.offset + int64(len(s.data))
	if more := end - int64(len(c.data)); more > 0 {
		c.data = append(c.data, make([]byte, more)...)
	}
	copy(c.data[s.offset:], s.data)
	c.size = max(c.size, end)
}

// rename applies a change of names.
func rename(names map[string]int, s step) {
	switch s.what {
	case created:
		names[s.name] = s.file
	case removed, renamed:
		if names[s.name] == s.file {
			delete(names, s.name)
		}
		if s.what == renamed {
			names[s.to] = s.file
		}
	}
}

// fate is what happens at a power failure to changes that are not synced.
type fate int

const (
	lost  fate = iota // None of them is on the disk.
	kept              // All are.
	mixed             // Some are, others are not, and some are in part.
)

func (f fate) String() string { return [...]string{"lost", "kept", "mixed"}[f] }

// loss is the fate of the queue's changes and of the database's in a power failure.
type loss struct{ queue, database fate }

func (l loss) String() string {
	return fmt.Sprintf("unsynced changes of the queue %v, of the database %v", l.queue, l.database)
}

func (l loss) of(name string) fate {
	if isQueue(name) {
		return l.queue
	}
	return l.database
}

// remains are the files after a power failure, by name.
type remains map[string]contents

// after returns the files after a power failure.
func (p *picture) after(l loss, rng *rand.Rand) remains {
	names := maps.Clone(p.names)
	for _, change := range p.renamed {
		if of := l.of(change.name); of == kept || of == mixed && rng.IntN(2) == 0 {
			rename(names, change)
		}
	}
	left := make(remains, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) { // Sorted, so that the seed decides everything.
		left[name] = p.files[names[name]].after(l.of(name), rng)
	}
	return left
}

// after returns the contents after a power failure.
func (f *file) after(of fate, rng *rand.Rand) contents {
	left := f.synced.clone()
	switch {
	case of == lost:
	case of == kept:
		for _, change := range f.unsynced {
			left.change(change)
		}
	case rng.IntN(2) == 0:
		// All changes up to a random one.
		for n := range rng.IntN(len(f.unsynced) + 1) {
			left.change(f.unsynced[n])
		}
	default:
		sector := []int64{512, 4096}[rng.IntN(2)]
		for _, change := range f.unsynced {
			left.tear(change, sector, rng)
		}
	}
	return left
}

// tear applies only some sectors of a write, and a truncation or not, at random.
func (c *contents) tear(s step, sector int64, rng *rand.Rand) {
	if s.what == truncated && rng.IntN(2) == 0 {
		c.change(s)
	}
	for begin := s.offset; begin < s.offset+int64(len(s.data)); {
		end := min(begin/sector*sector+sector, s.offset+int64(len(s.data)))
		if rng.IntN(2) == 0 {
			c.change(step{what: wrote, offset: begin, data: s.data[begin-s.offset : end-s.offset]})
		}
		begin = end
	}
}

// sum returns a digest by which equal remains are recognised.
func (r remains) sum() [sha256.Size]byte {
	hash := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(r)) {
		fmt.Fprintf(hash, "%q %d %d\n", name, len(r[name].data), r[name].size)
		hash.Write(r[name].data)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// write writes the files into a directory.
func (r remains) write(root string) error {
	for name, contents := range r {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, contents.data, 0o600); err != nil {
			return err
		}
		if err := os.Truncate(path, contents.size); err != nil {
			return err
		}
	}
	return nil
}
