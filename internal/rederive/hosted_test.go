package rederive_test

import (
	"bytes"
	"net/http"
	"reflect"
	"testing"

	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/rederive"
)

// TestHosted checks that frames say what the same events say, and that nothing cut off or damaged is taken for whole.
func TestHosted(t *testing.T) {
	events := []string{
		`{"type":"message_start","message":{"id":"msg_1","model":"claude-x","usage":{"input_tokens":3,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"ls","input":{}}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":7}}`,
		`{"type":"message_stop"}`,
	}
	stream := ""
	for _, event := range events {
		stream += "data: " + event + "\n\n"
	}
	const body = `"messages":[{"role":"user","content":"Hi"}]}`
	want := derive(t, rederive.Exchange{
		Request: []byte(`{"model":"a:b/c","stream":true,` + body), Response: []byte(stream), ResponseHeader: http.Header{"Content-Type": {"text/event-stream"}},
	})
	framed := fakebedrock.Encode(append([]fakebedrock.Frame{{Other: "x"}}, fakebedrock.Events(events...)...)...)
	of := func(response []byte) rederive.Exchange {
		return rederive.Exchange{
			Path: "/model/a%3Ab%2Fc/invoke-with-response-stream", Request: []byte(`{"model":"ignored",` + body), Response: response,
			ResponseHeader: http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}},
		}
	}
	if got := derive(t, of(framed)); !reflect.DeepEqual(got, want) || got.Model != "a:b/c" || got.ErrorType != "" {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	other := len(fakebedrock.Frame{Other: "x"}.Encode()) // Alone, it is of no API that is known.
	for at := range framed {
		if got := derive(t, of(framed[:at])); got.ErrorType != "truncated" && at != other {
			t.Errorf("cut after %d bytes: %+v", at, got)
		}
		damaged := bytes.Clone(framed)
		damaged[at] ^= 1
		if got := derive(t, of(damaged)); got.ErrorType != "truncated" {
			t.Errorf("damaged at %d: %+v", at, got)
		}
	}
	vertex := rederive.Exchange{
		Path: "/v1/projects/p/locations/l/publishers/anthropic/models/a%3Ab%2Fc:streamRawPredict", Request: []byte(`{` + body),
		Response: []byte(stream), ResponseHeader: http.Header{"Content-Type": {"text/event-stream"}},
	}
	if got := derive(t, vertex); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func derive(t *testing.T, exchange rederive.Exchange) rederive.Facts {
	t.Helper()
	exchange.Format, exchange.Status, exchange.Whole = rederive.FormatMessages, http.StatusOK, true
	facts, err := rederive.Derive(exchange)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}
