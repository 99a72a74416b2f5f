package aibridge

import (
	"net/http"
	"strings"

	"github.com/coder/aibridged/internal/clients"
	"github.com/coder/aibridged/internal/credential"
)

// subAgent returns what a client says of the sub-agent that sends a request, by its name in metadata, or nil if none does.
// The gateway's tokens are not in it.
func subAgent(header http.Header, tokens credential.Tokens) map[string]string {
	for _, way := range clients.SubAgents {
		agent, parent, kind := spoken(header, way.Agent), spoken(header, way.Parent), spoken(header, way.Kind)
		if parent == "" && kind == "" && (agent == "" || way.AgentOfAll) {
			continue
		}
		found := make(map[string]string, 3)
		for name, value := range map[string]string{clients.AgentID: agent, clients.ParentAgentID: parent, clients.AgentKind: kind} {
			if value != "" {
				found[name] = tokens.Redact(value)
			}
		}
		return found
	}
	return nil
}

// spoken returns the value of a header, which must be in its canonical form, or empty.
func spoken(header http.Header, name string) string {
	if values := header[name]; len(values) > 0 {
		return strings.TrimSpace(values[0])
	}
	return ""
}
