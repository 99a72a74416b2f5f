package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	mcpgo "github.com/mark3labs/mcp-go/mcp"
)

// Limits on a server's list of tools.
const (
	maxTools     = 1000
	maxPages     = 1000
	maxToolBytes = 256 << 10 // Of one tool's name, description and schema.
	maxListBytes = 4 << 20   // Of all of them.
)

// The reasons why a tool of a server's list is not used.
var (
	errNotAllowed  = errors.New("the expression that allows tools does not match its name")
	errDenied      = errors.New("the expression that denies tools matches its name")
	errListedTwice = errors.New("another tool of this name comes before it")
	errBeyondLimit = fmt.Errorf("the server has more tools than are used: %d, of %d bytes together; neither this one is nor any after it", maxTools, maxListBytes)
)

// choice chooses among the tools of a list.
type choice struct {
	// refuse returns why a tool is not wanted, or nil.
	refuse func(name string) error
	// leftOut is called for each tool that is not used.
	leftOut func(name string, why error)
}

// listing is a server's list of tools, within the limits above.
type listing struct {
	tools []listedTool
	// capped says that the server has more tools than the limits allow.
	capped bool
	// unusable counts the tools that no provider would accept, and those whose name another tool had before.
	unusable int
}

// listedTool is one tool in a listing. Its fields have the names of the protocol.
type listedTool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"inputSchema"`
	Annotations struct {
		ReadOnly   bool `json:"readOnlyHint"`
		Idempotent bool `json:"idempotentHint"`
	} `json:"annotations"`
}

// repeatable reports whether the server declares that a call may be made twice.
func (t *listedTool) repeatable() bool {
	return t.Annotations.ReadOnly || t.Annotations.Idempotent
}

func (t *listedTool) size() int { return len(t.Name) + len(t.Description) + len(t.InputSchema) }

// sameAs reports whether two tools are the same for a model and for a call.
func (t *listedTool) sameAs(other *listedTool) bool {
	return t.Name == other.Name && t.Description == other.Description && t.Annotations == other.Annotations &&
		bytes.Equal(t.InputSchema, other.InputSchema)
}

// list reads the pages of the server's list, as far as the limits allow, and keeps the tools that are chosen.
func (s *session) list(ctx context.Context, choose choice) (listing, error) {
	var found listing
	if !s.hasTools {
		return found, nil
	}
	before := make(map[string]int) // Where in found.tools a name is.
	size := 0
	var cursor *string
	used := make(map[string]bool)
	for range maxPages {
		page, next, err := s.page(ctx, cursor)
		if err != nil {
			return listing{}, err
		}
		for _, raw := range page {
			var tool listedTool
			if err := s.readTool(raw, &tool); err != nil {
				found.unusable++
				choose.leftOut(tool.Name, err)
				continue
			}
			if err := choose.refuse(tool.Name); err != nil {
				choose.leftOut(tool.Name, err)
				continue
			}
			if i, ok := before[tool.Name]; ok {
				if !tool.sameAs(&found.tools[i]) {
					found.unusable++
					choose.leftOut(tool.Name, errListedTwice)
				}
				continue
			}
			if size += tool.size(); len(found.tools) == maxTools || size > maxListBytes {
				found.capped = true
				choose.leftOut(tool.Name, errBeyondLimit)
				return found, nil
			}
			before[tool.Name] = len(found.tools)
			found.tools = append(found.tools, tool)
		}
		// In the stateless protocol an empty cursor is a cursor. A server that gives a cursor again would never end.
		if next == nil || *next == "" && !s.stateless || used[*next] {
			return found, nil
		}
		used[*next] = true
		cursor = next
	}
	found.capped = true
	return found, nil
}

// page reads one page of the list. It does not decode into mcp-go's own types: they would drop parts of JSON Schema
// that servers use.
func (s *session) page(ctx context.Context, cursor *string) (tools []json.RawMessage, next *string, err error) {
	params := map[string]any{}
	if cursor != nil {
		params["cursor"] = *cursor
	}
	got, err := s.send(ctx, s.newRequest(mcpgo.MethodToolsList, params))
	if err != nil {
		return nil, nil, err
	}
	var page struct {
		Tools      []json.RawMessage `json:"tools"`
		NextCursor *string           `json:"nextCursor"`
	}
	if err := json.Unmarshal(got.result, &page); err != nil {
		return nil, nil, fmt.Errorf("the answer to tools/list: %w", err)
	}
	return page.Tools, page.NextCursor, nil
}

// readTool reads one tool of a page. It fails on a tool that a provider would refuse, since the provider would then
// refuse the whole request, and on one that the session's protocol does not allow.
func (s *session) readTool(raw json.RawMessage, tool *listedTool) error {
	if err := json.Unmarshal(raw, tool); err != nil {
		return err
	}
	if tool.Name == "" {
		return errors.New("no name")
	}
	if tool.size() > maxToolBytes {
		return ErrTooLarge
	}
	schema, err := asObjectSchema(tool.InputSchema)
	if err != nil {
		return err
	}
	tool.InputSchema = schema
	if s.stateless {
		return mcpgo.ValidateParamHeaderAnnotations(tool.forHeader())
	}
	return nil
}

// forHeader returns the tool as mcp-go wants it to find out which parameters the header repeats.
func (t *listedTool) forHeader() *mcpgo.Tool {
	return &mcpgo.Tool{Name: t.Name, RawInputSchema: t.InputSchema}
}
