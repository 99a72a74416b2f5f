package bedrock_test

import (
	"strings"
	"testing"

	"github.com/coder/aibridged/aibridge/bedrock"
	"github.com/coder/aibridged/internal/fakebedrock"
	"github.com/coder/aibridged/internal/testkit"
)

// What decides the price of an answer and what Bedrock does not tell is recorded: the profile that a model is asked for by, and for how
// long cache writes are to be kept, unless the model knows one time alone.
func TestWhatDecidesThePrice(t *testing.T) {
	t.Parallel()
	const (
		global  = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
		written = `{"id":"m","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"cache_creation_input_tokens":9,"output_tokens":2}}`
		split   = `{"id":"m","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":3,"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_5m_input_tokens":9},"output_tokens":2}}`
		mark    = `"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],`
		both    = `"cache_control":{"type":"ephemeral"},` + mark
	)
	for name, test := range map[string]struct {
		path, model, more, answer string
		sentModel, ttl            string
	}{
		"mapped":               {"/v1/messages", "claude-sonnet-4-5", "", written, global, ""},
		"mapped, an hour":      {"/v1/messages", "claude-sonnet-4-5", mark, written, global, "1h"},
		"mapped, both":         {"/v1/messages", "claude-sonnet-4-5", both, written, global, "mixed"},
		"its own id":           {"/v1/messages", global, mark, written, "", "1h"},
		"told":                 {"/v1/messages", global, mark, split, "", ""},
		"nothing written":      {"/v1/messages", global, mark, helloBody, "", ""},
		"a model without":      {"/v1/messages", "us.anthropic.claude-3-7-sonnet-20250219-v1:0", mark, written, "", ""},
		"of Bedrock's clients": {"/model/" + global + "/invoke", "", mark, written, "", "1h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream := fakebedrock.New(t, answering(fakebedrock.Answer{Body: test.answer}))
			g := newGateway(t, upstream.URL, bedrock.Options{Credentials: static(), Models: map[string]string{"claude-sonnet-4-5": global}})
			body := `{"model":"` + test.model + `","max_tokens":9,` + test.more + `"messages":[{"role":"user","content":"Hi"}]}`
			if test.model == "" {
				body = strings.Replace(body, `"model":""`, `"anthropic_version":"bedrock-2023-05-31"`, 1)
			}
			if got := post(t, g, "/bedrock"+test.path, body); got.status != 200 {
				t.Fatal(got)
			}
			records := testkit.RenderRecords(t, g.Control.WaitEnds(t, 1))
			for name, want := range map[string]string{"sent_model": test.sentModel, "cache_ttl": test.ttl} {
				if has := strings.Contains(records, `"`+name+`"`); has != (want != "") || has && !strings.Contains(records, `"`+name+`":"`+want+`"`) {
					t.Errorf("%s is to be %q:\n%s", name, want, records)
				}
			}
		})
	}
}
