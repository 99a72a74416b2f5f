package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxErrorBody is how many bytes of an HTTP error's body are read.
const maxErrorBody = 16 << 10

var errRedirect = errors.New("redirects are not followed")

// endpoint is the [http.RoundTripper] under mcp-go's transport. It sets the credentials of every request, refuses
// redirects, bounds answers, and spaces attempts to listen.
type endpoint struct {
	next   http.RoundTripper
	header http.Header
	// look is called when a stream of notifications has been opened, or refused because the session is gone: changes
	// before that may have been missed.
	look func()
	// listening is used only by the one goroutine of mcp-go that listens.
	listening pace
	// farewell is the context of the request that ends the session, since mcp-go accepts none for it. The goroutine
	// that closes the transport sets it just before.
	farewell context.Context
}

// RoundTrip sends req with the credentials.
func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	// A GET that resumes the answer of a call is part of that call.
	listen := req.Method == http.MethodGet && req.Header.Get("Last-Event-ID") == ""
	switch {
	case listen:
		if err := e.listening.wait(ctx); err != nil {
			return nil, err
		}
	case req.Method == http.MethodDelete:
		ctx = e.farewell
	}
	req = req.Clone(ctx)
	for name, values := range e.header {
		req.Header[name] = values
	}
	resp, err := e.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if listen && (resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotFound) {
		e.look()
	}
	if err := refusal(resp); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	resp.Body = boundedBody(resp, listen, tooLargeMark(ctx))
	return resp, nil
}

// statusError is the error for an HTTP status that stands for no answer.
type statusError struct {
	status int
	text   string // The message of the JSON-RPC error in the body, or empty.
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("HTTP status %d", e.status)
	}
	return fmt.Sprintf("HTTP status %d: %s", e.status, e.text)
}

// refusal returns the error that resp stands for, or nil. It leaves two statuses to mcp-go, since they have a meaning
// in MCP: 404 says that the session is gone, 405 that the server offers no notifications.
func refusal(resp *http.Response) error {
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("HTTP status %d: %w", resp.StatusCode, errRedirect)
	case resp.StatusCode < 400, resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed:
		return nil
	}
	var body struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil || json.Unmarshal(data, &body) != nil {
		body.Error.Message = "" // The status says enough.
	}
	refused := &statusError{status: resp.StatusCode, text: body.Error.Message}
	if resp.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("%w: %w", ErrUnauthorized, refused)
	}
	return refused
}
