package mcp

import "slices"

// merged holds the tools of several servers, under IDs that are distinct across the servers. It is immutable.
type merged struct {
	from   [][]Tool // The snapshots that it was made of, one for each server.
	tools  []Tool   // Sorted by ID.
	routes map[string]toolRoute
}

// toolRoute is where a call goes.
type toolRoute struct {
	server ServerProxier
	toolID string // The server's own ID for the tool.
}

// merge returns the tools of all servers as they are now.
func (m *Manager) merge() *merged {
	from := make([][]Tool, len(m.servers))
	for i, server := range m.servers {
		from[i] = server.Tools()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.merged == nil || !slices.EqualFunc(m.merged.from, from, sameSnapshot) {
		m.merged = newMerged(m.servers, from)
	}
	return m.merged
}

// sameSnapshot reports whether two slices of tools are the same slice.
func sameSnapshot(a, b []Tool) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func newMerged(servers []ServerProxier, from [][]Tool) *merged {
	all := slices.Concat(from...)
	ids := toolIDs(all)
	m := &merged{from: from, tools: make([]Tool, 0, len(all)), routes: make(map[string]toolRoute, len(all))}
	i := 0
	for at, tools := range from {
		for _, tool := range tools {
			if id := ids[i]; id != "" {
				m.routes[id] = toolRoute{server: servers[at], toolID: tool.ID}
				tool.ID = id
				m.tools = append(m.tools, tool)
			}
			i++
		}
	}
	slices.SortFunc(m.tools, byID)
	return m
}
