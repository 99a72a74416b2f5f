package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// The stream of a measurement: this many events, so far apart that each is sent by itself.
const (
	streamEvents = 200
	streamPace   = 5 * time.Millisecond
)

const blockingAnswer = `{"id":"msg_1","type":"message","role":"assistant","model":"bench","content":[{"type":"text","text":"%s"}],` +
	`"stop_reason":"end_turn","usage":{"input_tokens":100,"output_tokens":200,"cache_read_input_tokens":300}}`

// briefPause is the middle of a brief stream: long enough for its start to be on any disk before its end comes.
const briefPause = 3 * time.Millisecond

// serveUpstream answers as the Messages API does. What it is to do is in the model's name and in stream: one event and
// then silence, one event and after a pause the rest, many events, or a blocking answer.
func serveUpstream(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	switch {
	case strings.Contains(string(body[:min(len(body), 100)]), `"model":"idle"`):
		serveStream(w, r, 0)
		<-r.Context().Done()
	case strings.Contains(string(body[:min(len(body), 100)]), `"model":"brief"`):
		serveBrief(w)
	case strings.Contains(string(body[:min(len(body), 100)]), `"stream":true`):
		serveStream(w, r, streamEvents)
	default:
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, blockingAnswer, strings.Repeat("word ", 200))
	}
}

func serveStream(w http.ResponseWriter, r *http.Request, events int) {
	send := beginStream(w)
	if events == 0 {
		return
	}
	send("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`)
	ticker := time.NewTicker(streamPace)
	defer ticker.Stop()
	for range events {
		select {
		case <-ticker.C:
			send("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" some words of it"}}`)
		case <-r.Context().Done():
			return
		}
	}
	send("content_block_stop", `{"type":"content_block_stop","index":0}`)
	send("message_delta", messageDelta)
	send("message_stop", messageStop)
}

const (
	messageDelta = `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":200}}`
	messageStop  = `{"type":"message_stop"}`
)

// beginStream sends the first event, and returns what sends further ones.
func beginStream(w http.ResponseWriter) func(kind, data string) {
	w.Header().Set("Content-Type", "text/event-stream")
	controller := http.NewResponseController(w)
	send := func(kind, data string) {
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, data)
		_ = controller.Flush() // A client that left is noticed by the one who sends.
	}
	send("message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"bench","content":[],"usage":{"input_tokens":100,"output_tokens":1}}}`)
	return send
}

// serveBrief tells in a comment of its last event when that was sent: what lies between is the way to the client.
func serveBrief(w http.ResponseWriter) {
	send := beginStream(w)
	<-time.After(briefPause)
	send("message_delta", messageDelta)
	fmt.Fprintf(w, ":%d\n", time.Now().UnixNano())
	send("message_stop", messageStop)
}
