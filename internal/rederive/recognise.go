package rederive

import (
	"net/http"
	"strings"
)

// recognise returns the client that sent a request: a system prompt tells more than a header of the client's own, and
// that more than a user agent.
func recognise(header http.Header, system string) client {
	known := clients()
	for _, s := range known {
		if s.system != "" && strings.HasPrefix(system, s.system) {
			return s
		}
	}
	for _, s := range known {
		for _, mark := range s.headers {
			value := strings.ToLower(strings.TrimSpace(header.Get(mark.name)))
			if value != "" && strings.HasPrefix(value, mark.value) {
				return s
			}
		}
	}
	agent := strings.ToLower(header.Get("User-Agent"))
	for _, s := range known {
		for _, beginning := range s.agents {
			if strings.HasPrefix(agent, beginning) {
				return s
			}
		}
	}
	return client{name: "Unknown"}
}

// session returns the id of the first source that has one.
func (c client) session(header http.Header, fields object) string {
	for _, source := range c.sessions {
		value := header.Get(source.header)
		switch source.field {
		case "prompt_cache_key":
			value = fields.text("prompt_cache_key")
		case "metadata.user_id":
			value = fields.object("metadata").text("user_id")
		}
		if source.read != nil {
			value = source.read(value)
		}
		if value = strings.TrimSpace(value); value != "" {
			return value
		}
	}
	return ""
}

func sessionOfJSON(userID string) string { return asObject([]byte(userID)).text("session_id") }

func sessionOfSuffix(userID string) string {
	at := strings.LastIndex(userID, "_session_")
	if at < 0 {
		return ""
	}
	return userID[at+len("_session_"):]
}

func after(prefix string) func(string) string {
	return func(value string) string {
		rest, ok := strings.CutPrefix(value, prefix)
		if !ok {
			return ""
		}
		return rest
	}
}
