package aibridge

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// longestEntry is how many bytes an entry of [ProviderOptions.Passthrough] may have.
const longestEntry = 256

// routesWith returns the routes of a provider of this kind that has these entries of [ProviderOptions.Passthrough]. The
// kind's own routes come first, so that no entry takes the place of one.
func (k providerKind) routesWith(entries []string) ([]route, error) {
	if len(entries) == 0 {
		return k.routes, nil
	}
	routes := append(make([]route, 0, len(k.routes)+len(entries)), k.routes...)
	for _, entry := range entries {
		opened, err := parseEntry(entry, k.prefix, k.routes)
		if err != nil {
			return nil, fmt.Errorf("entry %.100q: %w", entry, err)
		}
		routes = append(routes, opened)
	}
	return routes, nil
}

// parseEntry returns the route that an entry opens. Prefix is what all paths of the provider begin with, and routes are
// those that the provider has by itself.
func parseEntry(entry, prefix string, routes []route) (route, error) {
	method, path, ok := strings.Cut(entry, " ")
	switch {
	case len(entry) > longestEntry:
		return route{}, fmt.Errorf("it has more than %d bytes", longestEntry)
	case !ok:
		return route{}, errors.New(`write a method, a space and a path, such as "GET /v1/files/"`)
	}
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	case http.MethodHead:
		return route{}, errors.New("write GET: it covers HEAD")
	default:
		return route{}, errors.New("the method must be GET, POST, PUT, PATCH or DELETE, in capitals")
	}
	if err := judgeEntryPath(path); err != nil {
		return route{}, err
	}
	if !strings.HasPrefix(path, prefix+"/") || path == prefix+"/" && prefix == "" {
		return route{}, fmt.Errorf("the path must begin with %s/ and name something below it", prefix)
	}
	opened := route{method: method, path: path, opened: true}
	for _, own := range routes {
		if own.format != nil && opened.reaches(own) {
			return route{}, fmt.Errorf("it covers %s %s, which is recorded and cannot be passed through", own.method, own.path)
		}
	}
	return opened, nil
}

// judgeEntryPath refuses a path that means another than it seems to mean, or that looks like a pattern.
func judgeEntryPath(path string) error {
	for _, c := range path {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.ContainsRune("/-._~:@", c):
		case strings.ContainsRune("*?[]{}", c):
			return fmt.Errorf("the path has %q, but is no pattern: end it with a slash to open everything below it", c)
		default:
			return fmt.Errorf("the path has %q: use letters, digits, slashes and any of - . _ ~ : @", c)
		}
	}
	if err := judgePath(path); err != nil {
		return fmt.Errorf("the path: %w", err)
	}
	return nil
}

// reaches reports whether a request that matches the route, which has no braces, could be taken by an upstream for one of
// another route. Some upstreams ignore the case of letters, and a slash at the end.
func (r route) reaches(other route) bool {
	if r.method != other.method {
		return false
	}
	own, others := strings.Split(strings.ToLower(r.path), "/"), strings.Split(strings.ToLower(other.path), "/")
	for i, segment := range own {
		switch {
		case segment == "" && i > 0: // Everything below.
			return true
		case i == len(others):
			return false
		}
		if _, end, isAny := strings.Cut(others[i], "}"); isAny && strings.HasSuffix(segment, end) {
			continue
		}
		if segment != others[i] {
			return false
		}
	}
	return len(own) == len(others)
}

// openingEntry returns the entry of [ProviderOptions.Passthrough] that opens a method on a path, or an empty string if
// none can. It names as little of the path as makes sense: a path of two segments, or everything below the first two.
func (p *Provider) openingEntry(method, path string) string {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, own := range p.routes {
		if own.format != nil && matchesPath(strings.ToLower(own.path), strings.ToLower(strings.TrimSuffix(path, "/"))) {
			return "" // The API has this path for another method, or writes it in another way.
		}
	}
	segments := strings.Split(path[1:], "/")
	for n := min(2, len(segments)); n <= len(segments); n++ {
		entry := method + " /" + strings.Join(segments[:n], "/")
		if n < len(segments) {
			entry += "/"
		}
		if _, err := parseEntry(entry, p.prefix, p.routes); err == nil {
			return entry
		}
	}
	return ""
}
