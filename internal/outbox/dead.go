package outbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cdr.dev/slog/v3"
)

const (
	deadSuffix     = ".rec"
	maxReasonBytes = 1 << 10
	maxNoteBytes   = 16 << 10
	// maxGraveBytes is how many bytes of dead entries that are in no file are held in memory.
	maxGraveBytes = 8 << 20
)

func (q *Queue) deadDir() string { return filepath.Join(q.dir, "dead") }

// note is the first line of a file in dead/. The entry follows.
type note struct {
	Version  int       `json:"version"`
	Reason   string    `json:"reason"`
	Appended time.Time `json:"appended"`
	Bytes    int       `json:"bytes"`
	CRC32C   uint32    `json:"crc32c"`
}

// grave is a dead entry in memory.
type grave struct {
	item
	reason string
}

// bury sets aside an entry that the receiver refuses. If the entry cannot be written to the disk, it is held in memory
// and the cursor stays before it, so that a restart delivers it again. It returns false if there is no room for that
// either.
func (q *Queue) bury(i item, cause error) bool {
	reason := "no reason given"
	if cause != nil {
		reason = cause.Error()
	}
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxReasonBytes)], "\ufffd")
	if q.options.Durability == Memory {
		q.buryInMemory(i, reason)
	} else if err := q.writeDead(i, reason); err != nil {
		q.complain("a dead record cannot be written", err)
		if !q.hold(i, reason) {
			return false
		}
	}
	q.logger.Error(context.Background(), "record set aside: the receiver refuses it",
		slog.F("dir", q.dir), slog.F("reason", reason), slog.F("bytes", len(i.payload)))
	return true
}

// writeDead writes an entry to a file of its own. An entry that is buried a second time, after a crash, gets the same
// name.
func (q *Queue) writeDead(i item, reason string) error {
	crc := checksum(i.payload)
	line, err := json.Marshal(note{
		Version: formatVersion, Reason: reason, Appended: time.Unix(0, i.at).UTC(), Bytes: len(i.payload), CRC32C: crc,
	})
	if err != nil {
		return err
	}
	path := filepath.Join(q.deadDir(), fmt.Sprintf("%019d-%08x%s", i.at, crc, deadSuffix))
	known := false
	if opened, err := q.files.Open(path, os.O_RDONLY); err == nil {
		known = true
		_ = opened.Close()
	}
	contents := slices.Concat(line, []byte("\n"), i.payload)
	err = q.writeFile(path, contents)
	for noRoom(err) && q.giveUpForDead(int64(len(contents))) {
		err = q.writeFile(path, contents)
	}
	if err != nil {
		return err
	}
	if !known {
		q.mu.Lock()
		q.stats.Dead++
		q.mu.Unlock()
	}
	return nil
}

// writeFile writes a file whole or not at all, as durable as the queue makes entries.
func (q *Queue) writeFile(path string, contents []byte) (err error) {
	temporary := path + ".tmp"
	to, err := q.files.Open(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = to.WriteAt(contents, 0)
	if err == nil && q.options.Durability == Sync {
		err = to.Sync()
	}
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = q.files.Rename(temporary, path)
	}
	if err != nil {
		_ = q.files.Remove(temporary)
		return err
	}
	if q.options.Durability == Sync {
		return q.files.SyncDir(filepath.Dir(path))
	}
	return nil
}

// giveUpForDead gives up what was written ahead, or else some of the reserve, for a dead entry, which may be the only
// reason why its segment cannot be removed. The part of the reserve for heads is given up only if the next head has
// been written. It returns false if it freed nothing.
func (q *Queue) giveUpForDead(bytes int64) bool {
	q.appending.Lock()
	defer q.appending.Unlock()
	if s := q.active; s != nil && q.cutAhead(s) {
		s.ahead.off = true
		return true
	}
	last := q.reserve.forHeads()
	if q.active != nil && q.active.size == 0 {
		last = 0
	}
	given := q.reserve.giveUp(bytes, last)
	q.mu.Lock()
	q.full = true
	q.mu.Unlock()
	return given
}

// buryInMemory keeps a dead entry, and drops the oldest ones when there are too many.
func (q *Queue) buryInMemory(i item, reason string) {
	i.payload = bytes.Clone(i.payload)
	q.mu.Lock()
	q.graves = append(q.graves, grave{i, reason})
	q.graveBytes += len(i.payload)
	lost := 0
	for ; q.graveBytes > maxGraveBytes; lost++ {
		q.graveBytes -= len(q.graves[lost].payload)
	}
	q.graves = slices.Delete(q.graves, 0, lost)
	q.mu.Unlock()
	if lost > 0 {
		q.logger.Error(context.Background(), "dead records dropped: too many are held in memory", slog.F("entries", lost))
	}
}

// hold keeps an entry in memory until it can be written to the disk. It returns false if there is no room.
func (q *Queue) hold(i item, reason string) bool {
	i.payload = bytes.Clone(i.payload)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.graveBytes+len(i.payload) > maxGraveBytes {
		return false
	}
	q.graves = append(q.graves, grave{i, reason})
	q.graveBytes += len(i.payload)
	return true
}

// buryAgain writes to the disk the dead entries that could not be written before.
func (q *Queue) buryAgain() {
	if q.options.Durability == Memory {
		return
	}
	q.mu.Lock()
	graves, read := slices.Clone(q.graves), q.read
	q.mu.Unlock()
	written := 0
	for _, g := range graves {
		if err := q.writeDead(g.item, g.reason); err != nil {
			q.complain("a dead record cannot be written", err)
			break
		}
		written++
	}
	if written == 0 {
		return
	}
	q.mu.Lock()
	for _, g := range q.graves[:written] {
		q.graveBytes -= len(g.payload)
	}
	q.graves = slices.Delete(q.graves, 0, written)
	q.mu.Unlock()
	q.recountDead() // Some may be counted already: their files were there, and only the sync of their names had failed.
	q.advance(read)
}

// beforeGraves returns p, or the place of the first dead entry that is in no file, if that is before p. The caller has
// mu.
func (q *Queue) beforeGraves(p place) place {
	if len(q.graves) > 0 && q.graves[0].position < p.position {
		return q.graves[0].place
	}
	return p
}

// hasGrave reports whether a segment has the only lasting copy of a dead entry. The caller has mu.
func (q *Queue) hasGrave(s *segment) bool {
	return slices.ContainsFunc(q.graves, func(g grave) bool { return g.position >= s.base && g.position < s.end() })
}

// countDead returns how many files are in dead/.
func (q *Queue) countDead() (int, error) {
	names, err := q.files.List(q.deadDir(), 0)
	dead := 0
	for _, name := range names {
		if strings.HasSuffix(name, deadSuffix) {
			dead++
		}
	}
	return dead, err
}

// readDead returns the entry of a file from dead/.
func readDead(from file) ([]byte, error) {
	size, err := from.Size()
	if err != nil {
		return nil, err
	}
	if size > maxNoteBytes+MaxEntryBytes {
		return nil, fmt.Errorf("%w: %d bytes", errNoDead, size)
	}
	contents := make([]byte, size)
	if n, err := from.ReadAt(contents, 0); n < len(contents) {
		return nil, err
	}
	line, entry, _ := bytes.Cut(contents, []byte("\n"))
	if len(line) > maxNoteBytes {
		return nil, fmt.Errorf("%w: no note", errNoDead)
	}
	var n note
	if err := json.Unmarshal(line, &n); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDead, err)
	}
	switch {
	case n.Version > formatVersion:
		return nil, fmt.Errorf("a newer program wrote it, format %d", n.Version)
	case n.Bytes != len(entry) || n.CRC32C != checksum(entry):
		return nil, fmt.Errorf("%w: wrong length or CRC", errNoDead)
	}
	return entry, nil
}

// errNoDead says that a file is not what was written to dead/.
var errNoDead = errors.New("damaged")
