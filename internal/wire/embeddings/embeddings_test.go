package embeddings_test

import (
	"os"
	"testing"

	"github.com/coder/aibridged/internal/wire"
	"github.com/coder/aibridged/internal/wire/embeddings"
	"github.com/coder/aibridged/internal/wire/wiretest"
)

func suite() wiretest.Suite {
	return wiretest.Suite{Format: embeddings.Format(), Exchanges: os.DirFS("testdata"), Conversation: `"dimensions":3`}
}

func TestInspect(t *testing.T) {
	wiretest.Requests(t, embeddings.Format(), []wiretest.RequestCase{
		{Name: "nothing", Body: `{}`, Refused: true},
		{Name: "input of null", Body: `{"input":null}`, Refused: true},
		{Name: "model a number", Body: `{"model":1,"input":"a"}`, Refused: true},
		{Name: "no model", Body: `{"input":["a","b"]}`},
		{Name: "tokens", Body: `{"model":"m","input":[[1,2],[3]]}`, Want: wire.Request{Model: "m"}},
	})
}

func TestFormat(t *testing.T)  { wiretest.Run(t, suite()) }
func FuzzTrack(f *testing.F)   { wiretest.FuzzTrack(f, suite()) }
func FuzzInspect(f *testing.F) { wiretest.FuzzInspect(f, suite()) }
