package reports

import (
	"strings"

	"github.com/coder/aibridged/internal/visible"
)

// CSVCell returns a text as a cell of comma-separated values: one that a spreadsheet would take for a formula has an
// apostrophe before it, and nothing in it commands a terminal. Clients and models choose such texts.
func CSVCell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r\n", rune(text[0])) {
		text = "'" + text
	}
	return visible.Text(text)
}
