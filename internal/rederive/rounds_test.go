package rederive_test

import (
	"net/http"
	"testing"

	"github.com/coder/aibridged/internal/rederive"
)

// TestRefusedBetweenRounds has a request of a later round refused, and sent again with another key: that the refusal is a body
// says nothing of the form of the answers around it.
func TestRefusedBetweenRounds(t *testing.T) {
	const (
		calling = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m1\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n" +
			"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"bmcp_docs_x\",\"input\":{}}}\n\n" +
			"data: {\"type\":\"content_block_stop\",\"index\":0}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":2}}\n\ndata: {\"type\":\"message_stop\"}\n\n"
		done = "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m2\",\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n" +
			"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\ndata: {\"type\":\"message_stop\"}\n\n"
		wholeCalling = `{"id":"m1","type":"message","content":[{"type":"tool_use","id":"t","name":"bmcp_docs_x","input":{}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}`
		wholeDone    = `{"id":"m2","type":"message","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}`
		failed       = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n"
		refusal      = `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`
	)
	round := func(status int, kind, response string) rederive.Exchange {
		return rederive.Exchange{
			Format: rederive.FormatMessages, Request: []byte(`{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`), Status: status,
			ResponseHeader: http.Header{"Content-Type": {kind}}, Response: []byte(response), Whole: true,
		}
	}
	const stream, body = "text/event-stream", "application/json"
	for name, test := range map[string]struct {
		rounds []rederive.Exchange
		want   string
	}{
		"a stream":                      {[]rederive.Exchange{round(200, stream, calling), round(429, body, refusal), round(200, stream, done)}, ""},
		"a body":                        {[]rederive.Exchange{round(200, body, wholeCalling), round(401, body, refusal), round(200, body, wholeDone)}, ""},
		"refused twice":                 {[]rederive.Exchange{round(200, stream, calling), round(429, body, refusal), round(401, body, refusal), round(200, stream, done)}, ""},
		"then another form":             {[]rederive.Exchange{round(200, stream, calling), round(429, body, refusal), round(200, body, wholeDone)}, "truncated"},
		"then another form, of a body":  {[]rederive.Exchange{round(200, body, wholeCalling), round(429, body, refusal), round(200, stream, done)}, "truncated"},
		"then an error in another form": {[]rederive.Exchange{round(200, body, wholeCalling), round(200, stream, failed)}, "overloaded"},
		"refused in the end":            {[]rederive.Exchange{round(200, stream, calling), round(429, body, refusal), round(401, body, refusal)}, "unauthorized"},
	} {
		facts, err := rederive.DeriveRounds(test.rounds...)
		if err != nil || facts.ErrorType != test.want {
			t.Errorf("%s: %q, %v, want %q", name, facts.ErrorType, err, test.want)
		}
	}
}
