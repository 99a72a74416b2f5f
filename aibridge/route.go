package aibridge

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/aibridged/internal/jsonedit"
	"github.com/coder/aibridged/internal/wire"
)

// route is a method on a path that a provider serves. Everything else is refused.
type route struct {
	method string // GET covers HEAD.
	// path is below the provider's name. It matches byte for byte, but for a segment that begins in braces, which matches
	// any one segment with the same end, and a slash at the end, which matches everything below it too. It is a label in
	// metrics and log lines.
	path   string
	format *wire.Format // Nil: passed through, not recorded.
	// streams says that an answer is to be a stream, in a format whose requests say it by their path.
	streams bool
	// stored is the format of answers that show a response which is stored at the upstream. Nil: they show none.
	stored *wire.Format
	// creates says that an answer has the id of what the upstream has stored for the account that asked.
	creates bool
	opened  bool // By an entry of [ProviderOptions.Passthrough].
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
		end := segment(pattern)
		value, isSegment := strings.CutSuffix(segment(path[open:]), end)
		if value == "" || !isSegment {
			return false
		}
		pattern, path = pattern[len(end):], path[open+len(value)+len(end):]
	}
}

// segment returns the rest of a path's segment.
func segment(rest string) string {
	if end := strings.IndexByte(rest, '/'); end >= 0 {
		return rest[:end]
	}
	return rest
}

// modelPlace is the place of a model's id in the path of a route.
const modelPlace = "{model}"

// model returns where in a path of the route the id of a model begins and ends, and whether there is one. Ids of models
// have slashes, which SDKs escape, and dots at their end.
func (r route) model(path string) (start, end int, ok bool) {
	if strings.HasSuffix(r.path, "/models/") {
		return strings.LastIndexByte(path, '/') + 1, len(path), true
	}
	before, behind, ok := strings.Cut(r.path, modelPlace)
	if !ok {
		return 0, 0, false
	}
	for range strings.Count(before, "/") {
		start += strings.IndexByte(path[start:], '/') + 1
	}
	return start, start + len(segment(path[start:])) - len(segment(behind)), true
}

// named returns the route for a request with that path. If the path has the place of the model, the request's body does not
// name it: what the route's format reads of the body is completed by the path.
func (r route) named(path string) route {
	start, end, ok := r.model(path)
	if !ok || r.format == nil {
		return r
	}
	model, err := url.PathUnescape(path[start:end])
	if err != nil {
		model = path[start:end] // It cannot happen: the path has been judged.
	}
	format := *r.format
	inspect, streams := format.Inspect, r.streams
	format.Inspect = func(body jsonedit.Object) (wire.Request, error) {
		request, err := inspect(body)
		request.Model, request.Stream = model, streams
		return request, err
	}
	r.format = &format
	return r
}

// storedID returns the escaped id in a path, which the route matches, of what is stored at the upstream: it is in the place of
// the first segment in braces whose name says that it is an id. It is empty if the route has none.
func (r route) storedID(path string) string {
	before, name, ok := strings.Cut(r.path, "{")
	if name, _, _ = strings.Cut(name, "}"); !ok || !strings.HasSuffix(name, "_id") {
		return ""
	}
	id, _, _ := strings.Cut(path[len(before):], "/")
	return id
}

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
