package aibridge

import (
	"errors"
	"net/http"
	"testing"
)

// The end of an interception tells when the first byte of its answer came, if one did.
func TestFirstByteIsRecorded(t *testing.T) {
	refused := upstreamFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })
	for name, upstream := range map[string]upstreamFunc{"answered": upstreamFunc(answering(`{"type":"message","content":[]}`)), "refused": refused} {
		bridge, _, records := within(t, 32<<20, upstream)
		asked{path: "/messages/v1/messages", body: question(10)}.send(bridge)
		start, isStart := records.records[0].(*InterceptionStart)
		end, isEnd := records.records[len(records.records)-1].(*InterceptionEnd)
		if !isStart || !isEnd {
			t.Fatalf("%s: %+v", name, records.records)
		}
		if took := end.EndedAt.Sub(start.StartedAt); (end.FirstByte > 0) != (name == "answered") || end.FirstByte > took {
			t.Errorf("%s: the first byte after %v of %v", name, end.FirstByte, took)
		}
	}
}
