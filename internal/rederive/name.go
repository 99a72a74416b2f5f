package rederive

import "unicode/utf8"

// longestName is how many bytes a record keeps of a name: that of a model, a session or a tool, or an id.
const longestName = 1024

// name returns a name as a record holds it: at most longestName bytes, in whole characters.
func name(text string) string {
	text = storable(text)
	if len(text) <= longestName {
		return text
	}
	end := longestName
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

// flagShortened returns metadata, with a flag if one of the names is too long.
func flagShortened(metadata map[string]any, names ...string) map[string]any {
	for _, text := range names {
		if len(storable(text)) > longestName {
			metadata["truncated"] = true
		}
	}
	return metadata
}
