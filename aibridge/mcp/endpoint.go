package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
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
	// listening is used only by the one goroutine that listens.
	listening pace
	// farewell is the context of the request that ends the session, since mcp-go accepts none for it. The goroutine
	// that closes the transport sets it just before.
	farewell context.Context
}

// RoundTrip sends req with the credentials.
func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	awaited := awaitedBy(req)
	switch {
	case awaited != oneAnswer:
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
	marks := marksOf(ctx)
	if resp.StatusCode < http.StatusMultipleChoices {
		marks.begun.Store(true)
	}
	if awaited != oneAnswer && resp.StatusCode == http.StatusOK || awaited == changes && resp.StatusCode == http.StatusNotFound {
		e.look()
	}
	if err := refusal(req, resp); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	resp.Body = boundedBody(resp, awaited, &marks.tooLarge)
	return resp, nil
}

// awaitedBy returns what a request awaits. A GET that resumes the answer of a call is part of that call.
func awaitedBy(req *http.Request) stream {
	switch {
	case req.Method == http.MethodGet && req.Header.Get(mcpgo.HeaderLastEventID) == "":
		return changes
	case req.Header.Get(mcpgo.HeaderMethod) == string(mcpgo.MethodSubscriptionsListen):
		return changesThenAnswer
	}
	return oneAnswer
}

// statusError is the error for an HTTP status that stands for no answer.
type statusError struct {
	status int
	rpc    *rpcError // In the body, or nil.
}

func (e *statusError) Error() string {
	if e.rpc == nil || e.rpc.text == "" {
		return fmt.Sprintf("HTTP status %d", e.status)
	}
	return fmt.Sprintf("HTTP status %d: %s", e.status, e.rpc.text)
}

func (e *statusError) Unwrap() error {
	if e.rpc == nil {
		return nil
	}
	return e.rpc
}

// refusal returns the error that the answer to req stands for, or nil. It leaves two statuses to mcp-go where they
// have a meaning in MCP: 404 says that the session is gone, or that there is no stream of notifications, as 405 does.
func refusal(req *http.Request, resp *http.Response) error {
	listens := req.Method == http.MethodGet
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("HTTP status %d: %w", resp.StatusCode, errRedirect)
	case resp.StatusCode < 400, resp.StatusCode == http.StatusMethodNotAllowed && listens,
		resp.StatusCode == http.StatusNotFound && (listens || req.Header.Get(mcpgo.HeaderSessionID) != ""):
		return nil
	}
	refused := &statusError{status: resp.StatusCode}
	var body struct {
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Data    any    `json:"data"`
		} `json:"error"`
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err == nil && json.Unmarshal(data, &body) == nil && body.Error != nil { // Else the status says enough.
		refused.rpc = &rpcError{code: body.Error.Code, text: body.Error.Message, data: body.Error.Data}
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("%w: %w", ErrUnauthorized, refused)
	}
	return refused
}
