package mcp

import (
	"fmt"
	"net/url"
)

// parseServerURL returns the URL of a server. It refuses everything but the address of an HTTP server, for example
// commands and files. The error does not repeat the URL, which may hold a credential.
func parseServerURL(text string) (*url.URL, error) {
	server, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: it cannot be parsed", ErrRefusedURL)
	case server.Scheme != "http" && server.Scheme != "https":
		return nil, fmt.Errorf("%w: its scheme is neither http nor https", ErrRefusedURL)
	case server.Hostname() == "":
		return nil, fmt.Errorf("%w: it has no host", ErrRefusedURL)
	case server.User != nil:
		return nil, fmt.Errorf("%w: it holds a user", ErrRefusedURL)
	}
	server.Fragment, server.RawFragment = "", ""
	return server, nil
}

// withoutQuery returns server's URL without its query, as it may be recorded.
func withoutQuery(server *url.URL) string {
	shown := *server
	shown.RawQuery, shown.ForceQuery = "", false
	return shown.String()
}
