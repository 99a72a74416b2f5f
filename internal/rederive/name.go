package rederive

import "unicode/utf8"

// longestName is what a record keeps, in bytes, of a text that names something: a model, a session, a tool, an id.
const longestName = 1024

// name returns a text that names something as a record holds it: no longer than that, in whole characters.
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

// flagShortened returns metadata, with a flag where one of the names is too long.
func flagShortened(metadata map[string]any, names ...string) map[string]any {
	for _, text := range names {
		if len(storable(text)) > longestName {
			metadata["truncated"] = true
		}
	}
	return metadata
}
