package fakellm

// Help returns the text that tells people how to script an answer.
func Help() string {
	return `fakellm is a scripted upstream. It answers POST /v1/messages, /v1/chat/completions and
/v1/responses as the Anthropic and OpenAI APIs do, streamed and blocking, and accepts any
key. It also answers POST /v1/messages/count_tokens, GET /v1/models and GET /healthz.

Without a script, it repeats the first words of the prompt. If the last message of a request
holds tool results, it answers with the beginning of these, so that an agent's loop ends.

Directives script the answer. Put them into the prompt, or into the header X-Fakellm, which
overrides the prompt:

  [[text: hello there]]       the answer's text; [[text:]] means no text
  [[text-after: bye]]         a text after the tool calls
  [[think: hm]]               a thought before it; several add up
  [[tool: NAME {"a":1}]]      a tool call; several are parallel calls. The input is a JSON
                              object, or text for custom tools and, in a string of arguments
                              or a stream, for an input that is no JSON. NAME* is the first
                              declared tool whose name begins so: bmcp_* is one of a gateway's.
                              Requests that declare no such tool, or none, get no calls
  [[usage: input=10 output=5 cache_read=3 cache_write=2 thinking=1]]
                              tokens, input without cached ones; by default words are counted
  [[max-tokens]]              the answer ends at a limit of tokens, half-way in its last call
  [[then]]                    directives after it are for the answer to the tool results, and so on

  [[error: 429 retry-after=2 type=rate_limit_error too fast]]
                              a status instead of an answer; all but the status is optional
  [[error-event: overloaded_error after=3 too busy]]
                              an error event instead of the rest of the stream
  [[delay: 50ms]]             a pause before each event
  [[silence: 2s after=3]]     one pause
  [[cut: after=3]]            a broken connection; without streaming, in the middle of the body
  [[no-done]]                 a stream that ends in good order without its last event

after=N means after the Nth event, after=0 before any byte of the answer; the default is half-way.
Without streaming, error-event and no-done do nothing.
The text of a directive ends at the first closing brackets. A directive with a wrong argument is
answered with status 400. Other text in double brackets stays text.

It knows by the tool results since the prompt which answer is next. It insists on what the APIs
insist on, and answers with status 400 and their words if a call is without a result, or a result
without a call; if results are not in their place, or an id is there twice; if a thought has
changed, or is missing though the request asks for thinking (Messages); if reasoning has changed,
or what came after it is sent without it (Responses). It stores the latest thousand responses that
came to their end, so a request with previous_response_id or conversation sends only what is new,
and nothing twice. If a request includes
reasoning.encrypted_content, reasoning comes in the form that a client can send back.

Examples:

  curl http://127.0.0.1:4002/v1/messages -H 'x-api-key: any' \
    -d '{"model":"fake","stream":true,"messages":[{"role":"user","content":"Hi [[think: hm]]"}]}'

  curl http://127.0.0.1:4002/v1/chat/completions -H 'authorization: Bearer any' \
    -H 'x-fakellm: [[error: 429 retry-after=2]]' \
    -d '{"model":"fake","messages":[{"role":"user","content":"Hi"}]}'

  [[text: I look.]] [[tool: bmcp_* {"path":"/"}]] [[tool: Bash {"command":"ls"}]]
  [[then]] [[tool: bmcp_*]] [[then]] [[text: Done.]]

  claude -p 'List it. [[tool: Bash {"command":"ls"}]]' --allowedTools Bash
`
}
