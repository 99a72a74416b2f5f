package aibridge

import (
	"bytes"
	"net/http"
	"regexp"
	"strconv"

	"cdr.dev/slog/v3"
)

// mostRefusedTools is how many tools of the gateway one request may lose, each at the cost of another request.
const mostRefusedTools = 8

// toolPlace is how providers name a tool in an error: by its place in the request's tools.
var toolPlace = regexp.MustCompile(`\btools(?:\.|\[)(\d+)`)

// refusedTool reports whether an answer refuses the request for a tool of the gateway, whose schema this provider does not take.
// Then the tool is left out, here and in later requests, and the answer's round has ended.
func (x *relay) refusedTool(answer *http.Response) bool {
	if x.tools == nil || answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusUnprocessableEntity {
		return false
	}
	text, plain := readRefusal(answer)
	name := x.tools.refusedIn(plain, x.format.Tooling.First)
	if name == "" || x.tools.refused == mostRefusedTools {
		return false
	}
	x.tools.refused++
	x.tools.set.refuse(writtenFor{x.format.Name, x.provider.name}, x.format.Tooling, name)
	x.bridge.options.Logger.Warn(x.ctx, "a provider does not take a tool of the gateway: it is left out",
		slog.F("provider", x.provider.name), slog.F("format", x.format.Name), slog.F("tool", name),
		slog.F("reason", x.secrets.redact(string(plain[:min(len(plain), longestErrorMessage)]))))
	x.endRefused(answer, text)
	return true
}

// refusedIn returns the name of the offered tool that an error refuses, or "".
func (u *toolUse) refusedIn(text []byte, first bool) string {
	for _, name := range u.names {
		if containsName(text, name) {
			return name
		}
	}
	for _, found := range toolPlace.FindAllSubmatch(text, -1) {
		at, err := strconv.Atoi(string(found[1]))
		if !first {
			at -= u.body.Elements("tools").Len()
		}
		if err == nil && at >= 0 && at < len(u.names) {
			return u.names[at]
		}
	}
	return ""
}

// containsName reports whether a text has a name that is no part of a longer one.
func containsName(text []byte, name string) bool {
	isPart := func(c byte) bool {
		return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	for {
		at := bytes.Index(text, []byte(name))
		if at < 0 {
			return false
		}
		rest := text[at+len(name):]
		if (at == 0 || !isPart(text[at-1])) && (len(rest) == 0 || !isPart(rest[0])) {
			return true
		}
		text = rest
	}
}

// offer makes the edits that offer the tools.
func (x *relay) offer() (capped bool) {
	use, tooling := x.tools, x.format.Tooling
	most := use.limits.Tools - use.body.Elements("tools").Len()
	offered, capped := use.set.offer(writtenFor{x.format.Name, x.provider.name}, tooling, most, use.own)
	use.names, use.offered = offered.names, use.body.Insert("tools", offered.elements, tooling.First)
	return capped
}
