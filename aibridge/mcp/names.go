package mcp

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	idPrefix  = "bmcp_"
	maxID     = 64
	hashBytes = 6
)

// toolIDs returns the ID of each tool, at the same index; a tool that is listed twice has "" at the second place. The
// IDs are distinct and depend on which tools there are, not on their order. Where several tools would share a plain ID,
// each gets a hashed one instead: an ID that a model has seen must not come to mean another tool.
func toolIDs(tools []Tool) []string {
	// A tool's plain ID can equal another tool's hashed ID, so each tool claims both of its own.
	claims := make(map[string]int, 2*len(tools))
	claimed := make(map[string]bool, len(tools))
	for _, tool := range tools {
		hashed := hashedID(tool)
		if claimed[hashed] {
			continue
		}
		claimed[hashed] = true
		claims[hashed]++
		claims[plainID(tool)]++
	}
	ids := make([]string, len(tools))
	given := make(map[string]bool, len(tools))
	for i, tool := range tools {
		id := plainID(tool)
		if len(id) > maxID || mapped(id) != id || claims[id] > 1 {
			id = hashedID(tool)
		}
		if !given[id] {
			ids[i] = id
		}
		given[id] = true
	}
	return ids
}

func plainID(tool Tool) string {
	return idPrefix + tool.ServerID + "_" + tool.Name
}

// hashedID returns the ID of a tool that cannot have its plain one.
func hashedID(tool Tool) string {
	sum := sha256.Sum256([]byte(tool.ServerID + "\x00" + tool.Name))
	suffix := "_" + hex.EncodeToString(sum[:hashBytes])
	id := mapped(plainID(tool))
	return id[:min(len(id), maxID-len(suffix))] + suffix
}

// mapped returns name with an underscore for each character outside [A-Za-z0-9_-].
func mapped(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, name)
}
