package mcp

import (
	"cmp"
	"slices"

	"cdr.dev/slog/v3"
)

// catalog is a snapshot of a server's tools. It is immutable.
type catalog struct {
	tools []Tool // Sorted by ID.
	byID  map[string]*listedTool
}

// newCatalog returns the catalog of the listed tools; server holds the fields that they have in common.
func newCatalog(server Tool, listed []listedTool) *catalog {
	tools := make([]Tool, len(listed))
	for i := range listed {
		tools[i] = server
		tools[i].Name = listed[i].Name
		tools[i].Description = listed[i].Description
		tools[i].InputSchema = listed[i].InputSchema
	}
	c := &catalog{byID: make(map[string]*listedTool, len(listed))}
	for i, id := range toolIDs(tools) {
		if id == "" {
			continue
		}
		tools[i].ID = id
		c.tools = append(c.tools, tools[i])
		c.byID[id] = &listed[i]
	}
	slices.SortFunc(c.tools, byID)
	return c
}

func byID(a, b Tool) int { return cmp.Compare(a.ID, b.ID) }

// change counts how a server's new list of tools differs from the one before.
type change struct {
	added, removed, altered, now int
	capped                       bool
	unusable                     int
}

// differences counts what changed from one catalog to the next.
func differences(before, after *catalog) change {
	known := make(map[string]*listedTool, len(before.byID))
	for _, tool := range before.byID {
		known[tool.Name] = tool
	}
	news := change{now: len(after.tools)}
	for _, tool := range after.byID {
		old, ok := known[tool.Name]
		delete(known, tool.Name)
		switch {
		case !ok:
			news.added++
		case !tool.sameAs(old):
			news.altered++
		}
	}
	news.removed = len(known)
	return news
}

// publish makes found the server's tools, unless they already are, and returns what the caller must report. The caller
// holds mu.
func (p *StreamableHTTPProxy) publish(found listing) change {
	before, after := p.catalog.Load(), newCatalog(p.server, found.tools)
	news := differences(before, after)
	if before.byID != nil && news.added+news.removed+news.altered == 0 {
		return change{}
	}
	p.catalog.Store(after)
	news.capped, news.unusable = found.capped, found.unusable
	return news
}

// report logs news. An altered description or schema is a warning, since it changes what models are told about a tool
// that they may already use.
func (p *StreamableHTTPProxy) report(news change) {
	log, ctx := p.options.Logger, p.life
	if news.capped || news.unusable > 0 {
		log.Warn(ctx, "MCP server has tools that are left out",
			slog.F("more_than_limit", news.capped), slog.F("unusable", news.unusable))
	}
	if news.altered > 0 {
		log.Warn(ctx, "MCP server altered its tools", slog.F("altered", news.altered))
	}
	if news.added+news.removed > 0 {
		log.Debug(ctx, "MCP server's tools",
			slog.F("tools", news.now), slog.F("added", news.added), slog.F("removed", news.removed))
	}
}
