// Package fakebedrock is a Bedrock for tests. It checks the signature of each request with code of its own, keeps what
// came, and answers as its test says: with frames, with a JSON body, or with an error. It can cut, damage and delay frames.
package fakebedrock

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// Options are the settings of a Bedrock. The zero value knows no credentials, and refuses every request.
type Options struct {
	Region  string // Empty: us-east-1.
	Service string // What requests must be signed for. Empty: bedrock.
	Keys    []Key
	APIKeys []string // Accepted as Authorization: Bearer, and in X-Api-Key.
	// Answer returns the answer to a request.
	Answer func(Request) Answer
	// Messages is an upstream of the Messages API that answers instead, where set.
	Messages http.Handler
}

// Request is a request as it came.
type Request struct {
	Method string
	URI    string // The path and query as they stood in the request line.
	Header http.Header
	Body   string
}

// Answer is what is answered. An Answer with Frames is a stream of them, any other one a body.
type Answer struct {
	Status int // Zero: 200.
	Header http.Header
	Body   string
	Frames []Frame
	// Damage is the place of a byte that is changed, counted from 1; 0: none is.
	Damage int
	// Cut ends the connection after that many bytes of the frames; 0: it ends as it should.
	Cut int
	// Hold is waited for before the frame of that number is sent, counted from 0.
	Hold map[int]<-chan struct{}
}

// Frame is one frame: an event of the Messages API, or an exception.
type Frame struct {
	Event     string // JSON.
	Exception string // For example throttlingException.
	Message   string // Of the exception.
	Other     string // The type of an event that is no chunk.
}

// Event returns the frames of events.
func Events(events ...string) []Frame {
	frames := make([]Frame, len(events))
	for i, event := range events {
		frames[i].Event = event
	}
	return frames
}

// Encode returns a frame's bytes, made by AWS's own encoder.
func (f Frame) Encode() []byte {
	var message eventstream.Message
	var payload any
	set := func(name, value string) { message.Headers.Set(name, eventstream.StringValue(value)) }
	switch {
	case f.Exception != "":
		set(":exception-type", f.Exception)
		set(":message-type", "exception")
		payload = map[string]string{"message": f.Message}
	case f.Other != "":
		set(":event-type", f.Other)
		set(":message-type", "event")
	default:
		set(":event-type", "chunk")
		set(":message-type", "event")
		payload = map[string]string{"bytes": base64.StdEncoding.EncodeToString([]byte(f.Event)), "p": "abcdefgh"}
	}
	set(":content-type", "application/json")
	var frame bytes.Buffer
	var err error
	if message.Payload, err = json.Marshal(payload); err == nil {
		err = eventstream.NewEncoder().Encode(&frame, message)
	}
	if err != nil {
		panic(err) // It is too large for a frame.
	}
	return frame.Bytes()
}

// Encode returns the bytes of frames in a row.
func Encode(frames ...Frame) []byte {
	var stream []byte
	for _, frame := range frames {
		stream = append(stream, frame.Encode()...)
	}
	return stream
}

// Server is a Bedrock.
type Server struct {
	URL string // Of one that was made by New.

	options Options

	mu       sync.Mutex
	requests []Request // Guarded by mu.
}

// New starts a Bedrock at an address of its own. It is closed with the test.
func New(t testing.TB, options Options) *Server {
	t.Helper()
	s := NewHandler(options)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// NewHandler returns a Bedrock that has no address yet.
func NewHandler(options Options) *Server {
	if options.Region == "" {
		options.Region = "us-east-1"
	}
	if options.Service == "" {
		options.Service = "bedrock"
	}
	return &Server{options: options}
}

// Requests returns the requests that were accepted, in their order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // The client is gone.
	}
	if refusal := s.refusal(r, body); refusal != "" {
		w.Header().Set("X-Amzn-Errortype", "AccessDeniedException")
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]string{"message": refusal})
		return
	}
	request := Request{Method: r.Method, URI: r.RequestURI, Header: r.Header.Clone(), Body: string(body)}
	s.mu.Lock()
	s.requests = append(s.requests, request)
	s.mu.Unlock()
	if s.options.Messages != nil {
		s.serveMessages(w, r, request)
		return
	}
	s.answer(w, r, s.options.Answer(request))
}

// refusal returns why a request is refused, or "".
func (s *Server) refusal(r *http.Request, body []byte) string {
	bearer, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if key := r.Header.Get("X-Api-Key"); key != "" {
		bearer, isBearer = key, true
	}
	if isBearer {
		if slices.Contains(s.options.APIKeys, bearer) {
			return ""
		}
		return "the API key is not known"
	}
	if err := checkSignature(r, r.RequestURI, body, s.options.Keys, scope{s.options.Region, s.options.Service, time.Now()}); err != nil {
		return err.Error()
	}
	return ""
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, a Answer) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	status := max(a.Status, http.StatusOK)
	if a.Frames == nil {
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/json")
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, a.Body)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
	w.WriteHeader(status)
	sent := 0
	for i, frame := range a.Frames {
		if hold, ok := a.Hold[i]; ok {
			_ = http.NewResponseController(w).Flush()
			select {
			case <-hold:
			case <-r.Context().Done():
				return
			}
		}
		piece := frame.Encode()
		if at := a.Damage - 1 - sent; a.Damage > 0 && 0 <= at && at < len(piece) {
			piece[at] ^= 0x20
		}
		if a.Cut > 0 && sent+len(piece) >= a.Cut {
			_, _ = w.Write(piece[:a.Cut-sent])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		sent += len(piece)
		_, _ = w.Write(piece)
		_ = http.NewResponseController(w).Flush()
	}
}
