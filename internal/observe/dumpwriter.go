package observe

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// exchangeDump is one finished exchange on its way to the disk. The code that holds it must release it.
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
	head      []byte
	body      body
	redaction redaction // Of what the notes say.
}

// dumpWriter writes one dump after the other.
type dumpWriter struct {
	dir    string
	losses *losses
}

func (w *dumpWriter) write(d exchangeDump) {
	defer d.release()
	if err := w.files(d); err != nil {
		w.losses.fail(err)
	}
	w.losses.tell()
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
	_, notes := io.WriteString(f, m.notes())
	return errors.Join(head, bytes, notes)
}

// notes returns remarks on the body that its bytes do not show.
func (m message) notes() string {
	b := m.body
	var notes string
	if b.cut > 0 {
		notes += fmt.Sprintf("\n[%d more bytes not kept]\n", b.cut)
	}
	if b.end != nil && b.end != io.EOF {
		notes += fmt.Sprintf("\n[broken off: %s]\n", m.redaction.text(b.end.Error()))
	}
	return notes
}
