package observe

import "io"

// tappedBody shows what is read from a body to a copying function.
type tappedBody struct {
	io.ReadCloser
	note   func(p []byte, err error) // Called with what each Read returned; it does not keep p.
	closed func()                    // Called by Close, nil for none.
}

func (b *tappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.note(p[:n], err)
	return n, err
}

func (b *tappedBody) Close() error {
	err := b.ReadCloser.Close()
	if b.closed != nil {
		b.closed()
	}
	return err
}
