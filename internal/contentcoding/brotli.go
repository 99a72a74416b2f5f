package contentcoding

import (
	"io"

	"github.com/andybalholm/brotli"
)

// excessiveInput is the text of the error with which a [brotli.Reader] reports bytes behind the end of its coding.
const excessiveInput = "brotli: excessive input"

// brotliReader decodes br, and takes no notice of bytes behind the end of the coding. Its decoder does, but it also complains
// of bodies that have none, if their last bytes come one at a time.
type brotliReader struct{ *brotli.Reader }

// Read implements [io.Reader].
func (r brotliReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err.Error() == excessiveInput {
		err = io.EOF
	}
	return n, err
}
