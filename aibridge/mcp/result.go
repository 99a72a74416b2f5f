package mcp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/coder/aibridged/internal/storable"
)

const (
	defaultResultBytes = 1 << 20
	// maxParts is how many parts of a result are kept, since small parts cost more than their bytes.
	maxParts = 1000
)

// content is one block of a result.
type content struct {
	Type     string   `json:"type"`
	Text     string   `json:"text"`
	MIMEType string   `json:"mimeType"`
	Data     string   `json:"data"`
	URI      string   `json:"uri"`
	Resource resource `json:"resource"`
}

type resource struct {
	URI      string `json:"uri"`
	MIMEType string `json:"mimeType"`
	Text     string `json:"text"`
	Blob     string `json:"blob"`
}

// part returns the part of a block: a text, an image, or a note about what is neither.
func (c *content) part() Part {
	switch {
	case c.Type == "text":
		return Part{Text: c.Text}
	case c.Type == "image":
		return imagePart(fmt.Sprintf("image of type %q", storable.Cut(c.MIMEType, maxShownID)), c.Data)
	case c.Type == "resource" && c.Resource.Text != "":
		return Part{Text: c.Resource.Text}
	case c.Type == "resource":
		shown := fmt.Sprintf("resource %s of type %q", c.Resource.URI, storable.Cut(c.Resource.MIMEType, maxShownID))
		if strings.HasPrefix(c.Resource.MIMEType, "image/") {
			return imagePart(shown, c.Resource.Blob)
		}
		return Part{Text: "[" + shown + " left out]"}
	case c.Type == "resource_link":
		return Part{Text: "[resource " + c.URI + "]"}
	}
	return Part{Text: fmt.Sprintf("[%s of type %q left out]", storable.Cut(c.Type, maxShownID), storable.Cut(c.MIMEType, maxShownID))}
}

// imagePart returns the image that encoded holds, or a note that calls it by what it is shown as. The bytes alone say
// what kind of image it is: a provider refuses a whole request for an image that is not of the kind that it is said to be.
func imagePart(shown, encoded string) Part {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Part{Text: "[" + shown + " left out: it is not valid base64]"}
	}
	switch mediaType := http.DetectContentType(data); mediaType {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return Part{MediaType: mediaType, Data: data}
	}
	return Part{Text: "[" + shown + " left out: it is not a PNG, JPEG, GIF or WebP image]"}
}

// errNoResult is the error of a result that is none. One without content is an empty one.
var errNoResult = errors.New("the tool's result is no object")

// readResult reads the result of a tools/call and cuts it to limit bytes.
func readResult(raw json.RawMessage, secrets secrets, limit int) (Result, error) {
	var answer struct {
		ResultType string          `json:"resultType"`
		Content    []content       `json:"content"`
		Structured json.RawMessage `json:"structuredContent"`
		IsError    bool            `json:"isError"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return Result{}, fmt.Errorf("the tool's result: %w", err)
	}
	if kind := answer.ResultType; kind != "" && kind != "complete" {
		return Result{}, fmt.Errorf("the tool's result is of type %q, which needs a client that can go on with it", storable.Cut(kind, maxShownID))
	}
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return Result{}, errNoResult
	}
	kept := cutResult{left: limit}
	for i := range answer.Content {
		part := answer.Content[i].part()
		part.Text = secrets.clean(part.Text)
		kept.add(part)
	}
	structured := answer.Structured
	if len(structured) > 0 && !bytes.Equal(structured, []byte("null")) && !says(answer.Content, structured) {
		kept.add(Part{Text: secrets.clean(strings.ToValidUTF8(string(structured), "\uFFFD"))})
	}
	return Result{Parts: kept.done(limit), IsError: answer.IsError}, nil
}

// cutResult collects parts until its room is used up.
type cutResult struct {
	parts         []Part
	left          int // Bytes of room.
	chars, images int // What was left out: bytes of text, and images.
}

// add adds a part, or what fits of a text. Of an image that does not fit it adds nothing.
func (r *cutResult) add(part Part) {
	full := len(r.parts) == maxParts
	switch {
	case part.MediaType != "" && (full || len(part.Data) > r.left):
		r.images++
	case part.MediaType != "":
		r.left -= len(part.Data)
		r.parts = append(r.parts, part)
	case full:
		r.chars += len(part.Text)
	default:
		fits := storable.Cut(part.Text, r.left)
		if r.left -= len(fits); len(fits) < len(part.Text) {
			r.chars += len(part.Text) - len(fits)
			r.left = 0 // What comes later would make no sense beside the rest of a character.
		}
		if fits != "" {
			r.parts = append(r.parts, Part{Text: fits})
		}
	}
}

// done returns the parts, with a note about what was left out.
func (r *cutResult) done(limit int) []Part {
	var missing []string
	if r.chars > 0 {
		missing = append(missing, fmt.Sprintf("%d bytes of text", r.chars))
	}
	if r.images > 0 {
		missing = append(missing, fmt.Sprintf("images: %d", r.images))
	}
	if len(missing) == 0 {
		return r.parts
	}
	return append(r.parts, Part{Text: fmt.Sprintf("[the result was cut at %d bytes; left out: %s]", limit, strings.Join(missing, ", "))})
}

// says reports whether one of the texts is the same JSON as structured: servers send structured content as text too,
// for clients that do not read structured content.
func says(blocks []content, structured json.RawMessage) bool {
	var want any
	decoded := false
	return slices.ContainsFunc(blocks, func(c content) bool {
		text := strings.TrimSpace(c.Text)
		if c.Type != "text" || text == "" || text[0] != structured[0] {
			return false
		}
		if text == string(structured) {
			return true
		}
		if !decoded {
			want, decoded = exactJSON(structured), true
		}
		have := exactJSON([]byte(text))
		return have != nil && reflect.DeepEqual(have, want)
	})
}

// exactJSON decodes a JSON value and keeps how its numbers are spelled. It returns nil for what is not JSON.
func exactJSON(data []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil || decoder.More() {
		return nil
	}
	return value
}
