package rederive

import (
	"slices"
	"strings"
)

// gatewaysTools begins the name of each tool of a gateway.
const gatewaysTools = "bmcp_"

// whose says who answers a call.
type whose int

const (
	theProviders whose = iota // It runs the tool itself.
	theClients                // The call has a form that only a client can answer.
	byName                    // The gateway, if the name is one of its own and not of a tool of the client's, or else the client.
)

// isInjected reports whether a call is of a tool of the gateway: one that the client's request does not have.
func (c *call) isInjected(own []string) bool {
	return strings.HasPrefix(c.tool, gatewaysTools) && !slices.Contains(own, c.tool) && len(c.origin) == 0
}

// runs returns whether the answer has calls that the gateway runs, and calls that wait for the client. There are none of
// the gateway's if the answer has not ended, or ended where a call may have been cut.
func (a *reading) runs(own []string) (gateways, clients bool) {
	if a.broken || a.foreign || a.unreadable || a.failure != nil || a.cutsCalls {
		return false, false
	}
	for _, made := range a.calls {
		switch {
		case made.whose == byName && made.isInjected(own):
			gateways = true
		case made.whose != theProviders && !slices.Contains(a.answered, made.id):
			clients = true
		}
	}
	return gateways, clients && gateways
}

// namesOf returns the names of the tools in a request's list. A tool's name is in one of these objects, or "" for the tool
// itself.
func namesOf(tools []object, within ...string) (names []string) {
	for _, tool := range tools {
		for _, place := range within {
			told := tool
			if place != "" {
				told = tool.object(place)
			}
			if name := told.text("name"); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}
