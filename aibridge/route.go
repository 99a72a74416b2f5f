package aibridge

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/aibridged/internal/wire"
)

// route is a method on a path that a provider serves. Everything else is refused.
type route struct {
	method string // GET covers HEAD.
	// path is below the provider's name. It matches byte for byte, but for a segment in braces, which matches any one
	// segment, and a slash at the end, which matches everything below it too. It is a label in metrics and log lines.
	path   string
	format *wire.Format // Nil: passed through, not recorded.
	// stored is the format of answers that show a response which is stored at the upstream. Nil: they show none.
	stored *wire.Format
	opened bool // By an entry of [ProviderOptions.Passthrough].
}

// matches reports whether a request's method and escaped path are the route's.
func (r route) matches(method, path string) bool {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return method == r.method && matchesPath(r.path, path)
}

// matchesPath reports whether a path matches the pattern of a route.
func matchesPath(pattern, path string) bool {
	for {
		open := strings.IndexByte(pattern, '{')
		if open < 0 {
			return pattern == path || strings.HasSuffix(pattern, "/") && strings.HasPrefix(path, pattern)
		}
		if !strings.HasPrefix(path, pattern[:open]) {
			return false
		}
		_, pattern, _ = strings.Cut(pattern[open:], "}")
		end := strings.IndexByte(path[open:], '/')
		if end < 0 {
			end = len(path) - open
		}
		if end == 0 {
			return false
		}
		path = path[open+end:]
	}
}

// parameter returns what a path, which the route matches, has in the place of the first segment in braces, or an empty
// string if the route has none.
func (r route) parameter(path string) string {
	open := strings.IndexByte(r.path, '{')
	if open < 0 {
		return ""
	}
	id, _, _ := strings.Cut(path[open:], "/")
	return id
}

// endsInModel reports whether the last segment of the route's paths is a model's id. Ids of models have slashes, which
// SDKs escape, and dots at their end.
func (r route) endsInModel() bool { return strings.HasSuffix(r.path, "/models/") }

// route returns the route of a method and a path below the provider's name.
func (p *Provider) route(method, path string) (route, bool) {
	for _, route := range p.routes {
		if route.matches(method, path) && !p.namesRoute(route, path) {
			return route, true
		}
	}
	return route{}, false
}

// namesRoute reports whether a path that matches a route has, in the place of an id, what the API has a route of its
// own for: that is no id, whatever the method is.
func (p *Provider) namesRoute(of route, path string) bool {
	for at, c := range of.path {
		if c != '}' {
			continue
		}
		for _, other := range p.routes {
			if !other.opened && !strings.Contains(other.path, "{") && matchesPath(of.path[:at+1], other.path) && beginsWith(path, other.path) {
				return true
			}
		}
	}
	return false
}

// beginsWith reports whether the segments of a path begin with those of another one. It reads them as upstreams may: in
// letters of any case, and with escapes.
func beginsWith(path, beginning string) bool {
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	n := len(beginning)
	return len(path) >= n && strings.EqualFold(path[:n], beginning) && (len(path) == n || path[n] == '/')
}
