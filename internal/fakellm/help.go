package fakellm

// Help returns the text that tells people how to script an answer.
func Help() string {
	return `fakellm is a scripted upstream. It answers POST /v1/messages, /v1/chat/completions and
/v1/responses as the Anthropic and OpenAI APIs do, streamed and blocking, and needs any
key at all. POST /v1/messages/count_tokens, GET /v1/models and GET /healthz are there too.

Unscripted, it repeats the first words of the prompt. A request whose last message holds tool
results is answered with the beginning of these, so that an agent's loop ends.

Directives script the answer. They stand in what the user typed, or in the header X-Fakellm,
which has the last word:

  [[text: hello there]]       the answer's text; [[text:]] is none at all
  [[think: hm]]               a thought before it; several add up
  [[tool: NAME {"a":1}]]      a tool call; several are parallel calls. The input is a JSON
                              object, or text for custom tools. Requests that declare no
                              tools get no calls
  [[usage: input=10 output=5 cache_read=3 cache_write=2 thinking=1]]
                              tokens, input without cached ones; by default words are counted
  [[then]]                    what follows is for the answer to the tool results, and so on

  [[error: 429 retry-after=2 type=rate_limit_error too fast]]
                              a status instead of an answer; all but the status is optional
  [[error-event: overloaded_error after=3 too busy]]
                              an error event instead of the rest of the stream
  [[delay: 50ms]]             a pause before each event
  [[silence: 2s after=3]]     one pause
  [[cut: after=3]]            a broken connection; in the middle of the body where nothing is
                              streamed
  [[no-done]]                 a stream that ends in good order without its last event

after=N means after the Nth event, after=0 before any byte of the answer; without it, half-way.
What is not streamed can neither fail half-way nor lack its last event.
Text ends at the first closing brackets. A directive that is not understood is answered with
status 400, and all else in double brackets is just text.

Examples:

  curl http://127.0.0.1:4002/v1/messages -H 'x-api-key: any' \
    -d '{"model":"fake","stream":true,"messages":[{"role":"user","content":"Hi [[think: hm]]"}]}'

  curl http://127.0.0.1:4002/v1/chat/completions -H 'authorization: Bearer any' \
    -H 'x-fakellm: [[error: 429 retry-after=2]]' \
    -d '{"model":"fake","messages":[{"role":"user","content":"Hi"}]}'

  claude -p 'List it. [[tool: Bash {"command":"ls"}]]' --allowedTools Bash
`
}
