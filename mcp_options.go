package aibridged

import (
	"time"

	"github.com/coder/aibridged/aibridge/mcp"
)

// MCPOptions are the limits of a user's sessions with MCP servers. A field that is zero or less has its default.
type MCPOptions struct {
	// Wait is how long the first request of a bridge waits for MCP servers that are slow to connect; 2 s by default, and
	// never more than 5 s. The tools of a slower server are there once it is ready.
	Wait time.Duration
	// ConnectTimeout bounds connecting to one server and listing its tools; 5 s by default.
	ConnectTimeout time.Duration
	// CallTimeout bounds each call of a tool; 60 s by default.
	CallTimeout time.Duration
	// ResultBytes bounds the texts and images of one result; 1 MiB by default. A larger result is cut, with a note.
	ResultBytes int
}

// WithOptions returns a factory like f, with these limits.
func (f *MCPProxyFactory) WithOptions(options MCPOptions) *MCPProxyFactory {
	changed := *f
	changed.options = MCPOptions{
		Wait: max(options.Wait, 0), ConnectTimeout: max(options.ConnectTimeout, 0),
		CallTimeout: max(options.CallTimeout, 0), ResultBytes: max(options.ResultBytes, 0),
	}
	return &changed
}

// limit sets the limits of the sessions with one server.
func (o MCPOptions) limit(proxy *mcp.ProxyOptions) {
	proxy.ConnectTimeout, proxy.CallTimeout, proxy.ResultBytes = o.ConnectTimeout, o.CallTimeout, o.ResultBytes
}
