package rederive

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/clients"
)

// client is what is known of a client.
type client clients.Client

// recognise returns the client that sent a request: a system prompt tells more than a header of the client's own, and
// that more than a user agent.
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

// session returns the id of the first place that has one.
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

// idIn returns the id of a session that is in a value, or nothing.
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
