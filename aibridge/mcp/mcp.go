// Package mcp holds the sessions that one user has with Model Context Protocol servers: it lists their tools, keeps the
// lists fresh, and calls a tool when its caller asks.
//
//	proxy, err := mcp.NewStreamableHTTPProxy(mcp.ProxyOptions{ID: "github", URL: url, Headers: headers})
//	...
//	manager := mcp.NewManager([]mcp.ServerProxier{proxy}, mcp.ManagerOptions{Logger: logger})
//	defer manager.Shutdown(ctx)
//	err = manager.Init(ctx)
//	...
//	result, err := manager.Call(ctx, manager.Tools()[0].ID, input)
//
// The package speaks to servers over streamable HTTP only: no configuration makes it start a program. It treats what
// servers say as data, limits each size and each duration, and follows no redirect. It does not decide whose sessions
// these are, does not fetch tokens by itself, and knows nothing of models.
package mcp

import (
	"context"
	"encoding/json"
	"errors"
)

// The reasons why a server cannot be used or a call has no result. Errors of this package wrap at most one of these, or
// the context's, and carry no credential in their text.
var (
	// ErrRefusedURL says that this package does not connect to a server's URL: it is no address of an HTTP server.
	ErrRefusedURL = errors.New("refused URL")
	// ErrUnauthorized says that a server refused the user's credentials.
	ErrUnauthorized = errors.New("credentials refused: the account may have to be linked again")
	// ErrSessionExpired says that a server had forgotten the session, more than once, or while it answered a call. Such a
	// call is not made again, since nobody can know what it did.
	ErrSessionExpired = errors.New("session expired: call again")
	// ErrUnknownTool says that there is no tool of that ID, or that it is gone.
	ErrUnknownTool = errors.New("unknown tool")
	// ErrTooLarge says that a server's answer was larger than this package reads.
	ErrTooLarge = errors.New("answer too large")
	// ErrClosed says that the sessions were shut down.
	ErrClosed = errors.New("MCP sessions are shut down")
)

// Tool is one tool of one server, as the server describes it.
type Tool struct {
	// ID is the name that a model knows the tool by: bmcp_<server>_<tool> in [A-Za-z0-9_-], at most 64 bytes. Where the
	// names of server and tool had to be altered or cut, or another tool would have the same ID, it ends in a hash of
	// both names, which is the same in every process.
	ID string
	// ServerID is the server's name in the configuration.
	ServerID string
	// ServerURL is where the server is, without the query, which may hold a credential.
	ServerURL string
	// Name is the server's own name for the tool.
	Name string
	// Description is the server's text. It is data, not instructions to follow.
	Description string
	// InputSchema is the whole JSON Schema of the tool's input, as the server wrote it. It is an object of type "object"
	// with properties; what lacks of these was added.
	InputSchema json.RawMessage
}

// Result is what a tool answered. Its parts hold at most [ProxyOptions].ResultBytes bytes; if it was cut, a text at the
// end says what was left out.
type Result struct {
	// Parts are the texts and images of the answer, in the server's order. Structured content is a text, at the end,
	// unless one of the server's texts is the same JSON. There are no empty parts; an answer without content has none.
	Parts []Part
	// IsError says that the tool itself reports a failure, which Parts describe.
	IsError bool
}

// Part is one text or one image of a [Result]. A text also stands for content that is neither, and says so.
type Part struct {
	// Text is the text, in valid UTF-8; empty for an image.
	Text string
	// MediaType is the kind of the image, as its bytes show it: image/png, image/jpeg, image/gif or image/webp. It is
	// empty for a text.
	MediaType string
	// Data holds the bytes of the image, decoded. Nobody may change them.
	Data []byte
}

// ServerProxier is one user's sessions with some MCP servers. All methods are safe for concurrent use.
type ServerProxier interface {
	// Init connects and lists the tools, in a bounded time. After a success it does nothing; after an error it may be
	// called again. If ctx ends first, Init returns and the connecting goes on in the background.
	Init(ctx context.Context) error
	// Tools returns the present tools, sorted by ID; before Init and after Shutdown there are none. The slice is a
	// consistent snapshot that nobody may change, callers included. Tools returns the same slice until the tools
	// change.
	Tools() []Tool
	// Call runs a tool with a JSON object as its input; an empty input means an empty object. An error means that there
	// is no result, and its text can be shown to a model; a tool that ran and failed is a [Result].
	Call(ctx context.Context, toolID string, input json.RawMessage) (Result, error)
	// Shutdown ends the sessions and the calls that still use them, and waits for both; ctx bounds only how long it
	// takes to tell the servers. It must be called after Init, also after an Init that failed; a second call does
	// nothing.
	Shutdown(ctx context.Context) error
}
