package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxErrorBody is how much is read of the body of an HTTP error.
const maxErrorBody = 16 << 10

var errRedirect = errors.New("redirects are not followed")

// endpoint is how a session reaches its server: the [http.RoundTripper] under mcp-go's transport. Here, for every
// request, the credentials are set, redirects refused, answers bounded, and attempts to listen spaced.
type endpoint struct {
	next   http.RoundTripper
	header http.Header
	// look is called when the server has begun to tell of changes or has said that the session is gone: what it told
	// of before that was not heard.
	look func()
	// listening is used by the one goroutine of mcp-go that listens.
	listening pace
	// farewell is the context of the request that ends the session, for which mcp-go takes none. It is set by the
	// goroutine that then closes the transport.
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

// statusError is an HTTP status that is no answer.
type statusError struct {
	status int
	text   string // Of the JSON-RPC error in the body, or empty.
}

func (e *statusError) Error() string {
	if e.text == "" {
		return fmt.Sprintf("HTTP status %d", e.status)
	}
	return fmt.Sprintf("HTTP status %d: %s", e.status, e.text)
}

// refusal returns the error that resp stands for, or nil. The two statuses that mean something in MCP are left to
// mcp-go: 404 is a session that is gone, 405 a server that does not tell of changes.
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
