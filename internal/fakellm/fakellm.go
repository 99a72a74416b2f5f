// Package fakellm is a scripted upstream: it answers as the Anthropic Messages, OpenAI Chat Completions and OpenAI
// Responses APIs do, streamed and blocking, and says what a request tells it to say. It replaces a provider where there
// is no key: in tests, in demonstrations, and when a person tries the gateway for the first time.
//
//	upstream := httptest.NewServer(fakellm.New(fakellm.Options{}))
//	defer upstream.Close()
//
// A request scripts its answer by directives in the text that the user typed, such as [[think: hm]] [[tool: Bash
// {"command":"ls"}]], or in the header X-Fakellm; [Help] describes them. Without directives it repeats the first words
// of the prompt, or quotes the tool results that an agent sends back, so that the agent's loop ends.
//
// It insists on what the APIs insist on where tools are called: each call is answered in its place, thoughts come back
// unchanged, and what the server has stored is not sent again.
//
// It is not a model, and it does not cover the whole APIs: it checks little else of a request, keeps only the conversations
// of stored responses, the latest thousand, and has no WebSocket.
package fakellm

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	maxBody   = 64 << 20
	maxServed = 1000
)

// Options configure a [Server]. The zero value works.
type Options struct {
	// IDPrefix becomes a part of every id that the server makes. Ids count up from one, so two servers whose answers go
	// into one database need different prefixes. It must consist of letters and digits.
	IDPrefix string
	// Log is called at the end of each answer, from the request's goroutine, so it must be safe for concurrent use.
	// Nil: no calls.
	Log func(Served)
}

// Server is the upstream. It is safe for concurrent use, holds nothing that needs closing, and starts no goroutines.
type Server struct {
	options Options
	mux     *http.ServeMux
	count   atomic.Int64 // The number of requests so far, from which ids are made.
	memory  memory

	mu     sync.Mutex
	served []Served // Guarded by mu; at most maxServed.
}

// New returns a server that is ready to serve.
func New(options Options) *Server {
	s := &Server{options: options, mux: http.NewServeMux()}
	for path, f := range map[string]format{
		"/v1/messages": messages(), "/v1/chat/completions": chat(), "/v1/responses": responses(),
	} {
		s.mux.HandleFunc("POST "+path, s.authorized(func(w http.ResponseWriter, r *http.Request) { s.answer(f, w, r) }))
	}
	s.mux.HandleFunc("POST /v1/messages/count_tokens", s.authorized(s.countTokens))
	s.mux.HandleFunc("GET /v1/models", s.authorized(s.listModels))
	s.mux.HandleFunc("GET /v1/models/{id}", s.authorized(s.getModel))
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	s.mux.HandleFunc("/", s.authorized(s.notFound))
	return s
}

// ServeHTTP answers a request. It panics with [http.ErrAbortHandler] if the request asks for a cut connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// authorized lets requests with any credential pass. It does not check the credential.
func (s *Server) authorized(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") == "" && r.Header.Get("Authorization") == "" {
			s.refuse(w, r, &refusal{status: http.StatusUnauthorized, message: "no credential: send x-api-key or authorization"})
			return
		}
		next(w, r)
	}
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		// Codex asks for a WebSocket first. Only this status makes it turn to HTTP for good.
		s.refuse(w, r, &refusal{status: http.StatusUpgradeRequired, message: "no WebSocket here: use HTTP"})
		return
	}
	s.refuse(w, r, &refusal{status: http.StatusNotFound, message: "no such route: " + r.Method + " " + r.URL.Path})
}

// refuse answers with an error a request that no format has read.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err *refusal) {
	f := formatOf(r)
	requestID := s.ids()("req_", 0)
	w.Header().Set(f.requestID, requestID)
	err.write(w, f, requestID)
}

// formatOf returns the format in which refuse writes its error.
func formatOf(r *http.Request) format {
	if strings.HasPrefix(r.URL.Path, "/v1/messages") || r.Header.Get("Anthropic-Version") != "" {
		return messages()
	}
	return chat()
}

// answer serves a request of one format.
func (s *Server) answer(f format, w http.ResponseWriter, r *http.Request) {
	p := plan{format: f, newID: s.ids(), memory: &s.memory}
	requestID := p.newID("req_", 0)
	w.Header().Set(f.requestID, requestID)
	err := p.decide(w, r)
	served := p.describe(requestID)
	defer func() { s.note(served) }() // Deferred, since a cut panics.
	if refused, ok := errors.AsType[*refusal](err); ok {
		served.Status = refused.status
		refused.write(w, f, requestID)
		return
	}
	served.Complete = p.play(w, r)
}

// ids counts a request, and returns a function that makes ids for it: from a prefix, which says their kind, and a
// number within the answer.
func (s *Server) ids() func(prefix string, item int) string {
	number := s.count.Add(1)
	return func(prefix string, item int) string {
		return fmt.Sprintf("%s%sfake%06d%03d", prefix, s.options.IDPrefix, number, item)
	}
}
