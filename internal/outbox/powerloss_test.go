package outbox

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cdr.dev/slog/v3"
)

// volatileFiles is a disk with a machine that can stop: what was not synced may be lost then. It is safe for concurrent
// use.
type volatileFiles struct {
	disk

	mu     sync.Mutex
	synced map[string][]byte // The content of a file that is durable.
	named  map[string]bool   // Whether its name is.
	before func()            // Called before each change, if not nil.
}

func newVolatileFiles() *volatileFiles {
	return &volatileFiles{synced: map[string][]byte{}, named: map[string]bool{}}
}

// change locks what is about to change. The function that it returns ends that.
func (v *volatileFiles) change() (done func()) {
	v.mu.Lock()
	if v.before != nil {
		v.before()
	}
	return v.mu.Unlock
}

func (v *volatileFiles) Open(path string, flags int) (file, error) {
	defer v.change()()
	opened, err := v.disk.Open(path, flags)
	return &volatileFile{opened, v, path}, err
}

func (v *volatileFiles) Rename(from, to string) error {
	defer v.change()()
	return v.disk.Rename(from, to)
}

func (v *volatileFiles) Remove(path string) error {
	defer v.change()()
	return v.disk.Remove(path)
}

func (v *volatileFiles) SyncDir(dir string) error {
	defer v.change()()
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		v.named[filepath.Join(dir, entry.Name())] = true
	}
	return err
}

type volatileFile struct {
	file
	files *volatileFiles
	path  string
}

func (f *volatileFile) WriteAt(p []byte, offset int64) (int, error) {
	defer f.files.change()()
	return f.file.WriteAt(p, offset)
}

func (f *volatileFile) Truncate(size int64) error {
	defer f.files.change()()
	return f.file.Truncate(size)
}

func (f *volatileFile) Sync() error {
	defer f.files.change()()
	size, err := f.Size()
	if err != nil {
		return err
	}
	content := make([]byte, size)
	if _, err := f.ReadAt(content, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.files.synced[f.path] = content
	return nil
}

// stop copies what is left of dir, when the machine stops now, to another directory.
func (v *volatileFiles) stop(t *testing.T, dir, to string, rng *rand.Rand) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.copy(t, dir, to, rng)
}

// copy is stop for a caller that has the lock. If rng is nil, only the process ends, and nothing is lost.
func (v *volatileFiles) copy(t *testing.T, dir, to string, rng *rand.Rand) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if rng != nil && !v.named[path] && rng.IntN(2) == 0 {
			return nil
		}
		content := readFile(t, path)
		if rng != nil {
			content = lose(v.synced[path], content, rng)
		}
		writeFile(t, filepath.Join(to, filepath.Base(path)), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// lose returns what a machine that stops leaves of a file: of what changed since the last sync, each sector may be as it
// was then or as it is now, and so may the size, or anything in between.
func lose(synced, content []byte, rng *rand.Rand) []byte {
	shorter, longer := min(len(synced), len(content)), max(len(synced), len(content))
	left := make([]byte, shorter+rng.IntN(longer-shorter+1))
	for at := 0; at < len(left); {
		next := min(len(left), at+sectorBytes*(1+rng.IntN(pageBytes/sectorBytes)))
		from := content
		if rng.IntN(3) == 0 {
			from = synced
		}
		copy(left[at:next], from[min(at, len(from)):]) // Beyond its end there are zeros.
		at = next
	}
	return left
}

// TestFault076PowerLoss stops the machine at random moments: what was synced is delivered, in order, and the start
// never fails.
func TestFault076PowerLoss(t *testing.T) {
	for name, durability := range map[string]Durability{"sync": Sync, "kernel": Kernel} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(76, uint64(durability)))
			for n := range 15 {
				// Small segments are many, and of large ones the last has much written ahead.
				powerLoss(t, durability, []int64{8 << 10, 0}[n%2], rng)
			}
		})
	}
}

func powerLoss(t *testing.T, durability Durability, segmentBytes int64, rng *rand.Rand) {
	t.Helper()
	dir, after := t.TempDir(), t.TempDir()
	files := newVolatileFiles()
	q := mustOpen(t, dir, Options{Durability: durability, files: files, SegmentBytes: segmentBytes})
	var (
		appenders sync.WaitGroup
		mu        sync.Mutex
		durable   []string
	)
	tell := make(chan struct{})
	for a := range 4 {
		appenders.Go(func() {
			for n := 0; ; n++ {
				entry := fmt.Sprintf("%d %05d%s", a, n, strings.Repeat("x", n*7%1000))
				commit, err := q.Append([]byte(entry))
				if errors.Is(err, ErrClosed) {
					return
				}
				if err := errors.Join(err, commit.Wait(t.Context())); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				durable = append(durable, entry)
				mu.Unlock()
				select {
				case tell <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 1 + rng.IntN(50) {
		<-tell
	}
	mu.Lock()
	known := slices.Clone(durable)
	mu.Unlock()
	files.stop(t, dir, after, rng)
	mustClose(t, q)
	appenders.Wait()

	log := &logLines{}
	q = mustOpen(t, after, Options{Logger: slog.Make(log)})
	if n := log.count("missing") + log.count("inventory"); n > 0 {
		t.Errorf("taken for damage: %q", log.lines)
	}
	got := drain(t, q)
	if durability == Sync && !containsAll(got, known...) {
		t.Errorf("of %d durable entries some are not among the %d delivered", len(known), len(got))
	}
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Error("not in order, or not once")
	}
	mustClose(t, q)
}
