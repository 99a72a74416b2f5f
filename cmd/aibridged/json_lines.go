package main

import (
	"encoding/json"
	"io"

	"github.com/coder/aibridged/internal/visible"
)

// newJSONLines returns an encoder of JSON for a terminal or a program: one value a line. What would command a terminal is escaped.
func newJSONLines(out io.Writer) *json.Encoder { return json.NewEncoder(visible.JSON(out)) }
