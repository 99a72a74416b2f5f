package console

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// headText returns the lines of a header, in the order of their names.
func headText(header http.Header) string {
	var lines []string
	for name, values := range header {
		for _, value := range values {
			lines = append(lines, name+": "+value)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// prettyBody returns a body for people: JSON with a member a line, also in the events of a stream.
func prettyBody(body []byte) string {
	if json.Valid(body) {
		return pretty(json.RawMessage(body))
	}
	var out strings.Builder
	for line := range bytes.Lines(body) {
		data, ok := bytes.CutPrefix(line, []byte("data:"))
		if data = bytes.TrimSpace(data); !ok || !json.Valid(data) {
			out.Write(line)
			continue
		}
		out.WriteString("data: " + pretty(json.RawMessage(data)) + "\n")
	}
	return out.String()
}
