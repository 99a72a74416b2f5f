package upstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"cdr.dev/slog/v3"
)

// exchangeDump is one finished exchange on its way to the disk. Whoever has it releases it.
type exchangeDump struct {
	began    time.Time
	request  message
	response message
	budget   *budget
}

func (d exchangeDump) release() {
	d.budget.release(len(d.request.body.bytes) + len(d.response.body.bytes))
}

// message is a request or a response. Its head is redacted already.
type message struct {
	head []byte
	body body
}

// dumpWriter writes dumps, one after the other.
type dumpWriter struct {
	dir     string
	logger  slog.Logger
	dropped *atomic.Int64

	failure error // The latest that no log line has told of yet.
	logged  time.Time
}

// run writes what comes through queue until done is closed, and then what is still in there.
func (w *dumpWriter) run(queue <-chan exchangeDump, done <-chan struct{}) {
	defer w.log()
	for {
		select {
		case d := <-queue:
			w.write(d)
		case <-done:
			for {
				select {
				case d := <-queue:
					w.write(d)
				default:
					return
				}
			}
		}
	}
}

func (w *dumpWriter) write(d exchangeDump) {
	defer d.release()
	if err := w.files(d); err != nil {
		w.failure = err
		w.dropped.Add(1)
	}
	if time.Since(w.logged) >= time.Minute {
		w.log()
	}
}

// log tells of the dumps that were dropped, if any. It runs on the writer's goroutine, since a slow log may keep this
// one waiting, but never a request.
func (w *dumpWriter) log() {
	dropped := w.dropped.Swap(0)
	if dropped == 0 {
		return
	}
	w.logger.Warn(context.Background(), "dropped dumps of upstream requests",
		slog.F("dropped", dropped), slog.F("dir", w.dir), slog.Error(w.failure))
	w.failure, w.logged = nil, time.Now()
}

func (w *dumpWriter) files(d exchangeDump) error {
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return fmt.Errorf("create dump directory: %w", err)
	}
	name := filepath.Join(w.dir, d.began.UTC().Format("20060102T150405.000Z")+"-"+rand.Text()[:8])
	return errors.Join(d.request.file(name+".request"), d.response.file(name+".response"))
}

func (m message) file(name string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create dump: %w", err)
	}
	if err := errors.Join(m.write(f), f.Close()); err != nil {
		return fmt.Errorf("write dump %s: %w", name, err)
	}
	return nil
}

func (m message) write(f io.Writer) error {
	_, head := f.Write(m.head)
	_, bytes := f.Write(m.body.bytes)
	_, notes := io.WriteString(f, m.body.notes())
	return errors.Join(head, bytes, notes)
}

// notes says what the bytes of a dump do not show.
func (b body) notes() string {
	var notes string
	if b.cut > 0 {
		notes += fmt.Sprintf("\n[%d more bytes not kept]\n", b.cut)
	}
	if b.end != nil && b.end != io.EOF {
		notes += fmt.Sprintf("\n[broken off: %v]\n", b.end)
	}
	return notes
}
