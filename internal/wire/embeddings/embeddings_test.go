package embeddings_test

import (
	"os"
	"testing"

	"github.com/coder/aibridged/internal/wire/embeddings"
	"github.com/coder/aibridged/internal/wire/wiretest"
)

func suite() wiretest.Suite {
	return wiretest.Suite{Format: embeddings.Format(), Exchanges: os.DirFS("testdata"), Conversation: `"input":["a"]`}
}

func TestFormat(t *testing.T)  { wiretest.Run(t, suite()) }
func FuzzTrack(f *testing.F)   { wiretest.FuzzTrack(f, suite()) }
func FuzzInspect(f *testing.F) { wiretest.FuzzInspect(f, suite()) }
