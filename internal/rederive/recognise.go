package rederive

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/clients"
)

// client is an entry of the table of clients.
type client clients.Client

// recognise returns the client that sent a request. A system prompt decides before a client's own header, and that
// before a user agent.
func recognise(header http.Header, system string) client {
	for _, c := range clients.Known {
		if c.System != "" && strings.HasPrefix(system, c.System) {
			return client(c)
		}
	}
	for _, c := range clients.Known {
		for _, mark := range c.Headers {
			value := strings.ToLower(strings.TrimSpace(header.Get(mark.Name)))
			if value != "" && strings.HasPrefix(value, mark.Beginning) {
				return client(c)
			}
		}
	}
	agent := strings.ToLower(header.Get("User-Agent"))
	for _, c := range clients.Known {
		for _, beginning := range c.Agents {
			if strings.HasPrefix(agent, beginning) {
				return client(c)
			}
		}
	}
	return client{Name: clients.Unknown}
}

// session returns the session id from the first place that has one.
func (c client) session(header http.Header, fields object) string {
	for _, place := range c.Sessions {
		var value string
		switch {
		case place.Header != "":
			value = header.Get(place.Header)
		case place.Field == clients.CacheKey:
			value = fields.text("prompt_cache_key")
		case place.Field == clients.UserID:
			value = fields.object("metadata").text("user_id")
		}
		if id := strings.TrimSpace(idIn(value, place)); id != "" {
			return id
		}
	}
	return ""
}

// idIn returns the session id in a value, or "".
func idIn(value string, place clients.Session) string {
	if place.Member != "" {
		return asObject([]byte(value)).text(place.Member)
	}
	if place.Marker != "" {
		parts := strings.Split(value, place.Marker)
		if len(parts) == 1 || json.Valid([]byte(value)) {
			return ""
		}
		return parts[len(parts)-1]
	}
	if !strings.HasPrefix(value, place.Prefix) {
		return ""
	}
	return value[len(place.Prefix):]
}
