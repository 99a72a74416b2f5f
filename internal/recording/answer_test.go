package recording

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/aibridged/aibridge"
	"github.com/coder/aibridged/internal/outbox"
	"github.com/coder/aibridged/proto"
)

// countingFiles is the disk, and counts syncs. It is safe for concurrent use.
type countingFiles struct {
	outbox.FileSystem

	syncs atomic.Int64
}

func (c *countingFiles) Open(path string, flags int) (outbox.File, error) {
	opened, err := c.FileSystem.Open(path, flags)
	return countingFile{opened, c}, err
}

func (c *countingFiles) SyncDir(dir string) error {
	c.syncs.Add(1)
	return c.FileSystem.SyncDir(dir)
}

type countingFile struct {
	outbox.File

	files *countingFiles
}

func (f countingFile) Sync() error {
	f.files.syncs.Add(1)
	return f.File.Sync()
}

// thinker is an upstream that answers after a while, in pieces that each take as long again.
type thinker struct {
	thinks time.Duration
	kind   string
	pieces []string
}

func (u thinker) RoundTrip(r *http.Request) (*http.Response, error) {
	<-time.After(u.thinks)
	body, writer := io.Pipe()
	go func() {
		for n, piece := range u.pieces {
			if n > 0 {
				<-time.After(u.thinks)
			}
			_, _ = io.WriteString(writer, piece)
		}
		_ = writer.Close()
	}()
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
		Header: http.Header{"Content-Type": {u.kind}}, Body: body,
	}, nil
}

// TestSyncsOfAnswer holds what an answer costs that is alone: one sync of the queue where it comes at once and whole,
// since its start and the rest are waited for together; and two where the start is synced while the upstream thinks, or
// is waited for before the first piece goes out.
func TestSyncsOfAnswer(t *testing.T) {
	const (
		blocking = "application/json"
		stream   = "text/event-stream"
		whole    = `{"id":"msg_1","type":"message","model":"m","content":[],"usage":{"input_tokens":3,"output_tokens":1}}`
		first    = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n"
		last     = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	)
	for name, test := range map[string]struct {
		upstream thinker
		want     int64
	}{
		"at once":         {thinker{0, blocking, []string{whole}}, 1},
		"after 3 ms":      {thinker{3 * time.Millisecond, blocking, []string{whole}}, 1},
		"after a second":  {thinker{time.Second, blocking, []string{whole}}, 2},
		"stream at once":  {thinker{0, stream, []string{first, last}}, 2},
		"stream, in time": {thinker{time.Second, stream, []string{first, last}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files := &countingFiles{FileSystem: outbox.Disk()}
				queue, err := Open(Options{Directory: t.TempDir(), Files: files})
				if err != nil {
					t.Fatal(err)
				}
				control := &server{}
				queue.Deliver(func(context.Context) (proto.DRPCRecorderClient, error) { return control, nil })
				provider, err := aibridge.NewAnthropicProvider("p", aibridge.ProviderOptions{Key: "key", Transport: test.upstream})
				if err != nil {
					t.Fatal(err)
				}
				providers, err := aibridge.NewProviderSet(provider)
				if err != nil {
					t.Fatal(err)
				}
				bridge := aibridge.NewRequestBridge(providers, queue, aibridge.BridgeOptions{})
				synctest.Wait() // For the sync of the queue's own beginning.
				before := files.syncs.Load()
				const answers = 3
				for range answers {
					w := httptest.NewRecorder()
					r := httptest.NewRequestWithContext(aibridge.AsActor(t.Context(), aibridge.Actor{ID: "ada"}), http.MethodPost, "/p/v1/messages", strings.NewReader(`{"model":"m","messages":[]}`))
					bridge.ServeHTTP(w, r)
					if got, want := w.Body.String(), strings.Join(test.upstream.pieces, ""); w.Code != http.StatusOK || got != want {
						t.Errorf("%d %q, want %q", w.Code, got, want)
					}
				}
				<-time.After(time.Minute) // Nothing is left to sync, and delivery syncs nothing.
				synctest.Wait()
				if syncs := files.syncs.Load() - before; syncs != answers*test.want {
					t.Errorf("%d syncs for %d answers, want %d for each", syncs, answers, test.want)
				}
				if err := queue.Close(t.Context(), t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
