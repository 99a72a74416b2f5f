package console

import (
	"slices"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// usagePage is a range split by something.
type usagePage struct {
	By, UserID string
	Ways       []string
	Table      *table
	More       int // How many rows only the files have.
}

// mostShown is how many rows a page shows of a long list. The files have all.
const mostShown = 500

// usage shows a range split by something, in full.
func (c *Console) usage(v *visit) (*answer, error) {
	chosen, err := v.choose("30d")
	if err != nil {
		return nil, err
	}
	q := v.URL.Query()
	by := q.Get("by")
	if by == "" {
		by = "user"
	}
	if !slices.Contains(reports.Breakdowns(), by) {
		return nil, askedWrongly{"This cannot be split so."}
	}
	userID, err := c.userID(v, q.Get("user"))
	if err != nil {
		return nil, err
	}
	query := reports.Query{Range: chosen.Range, Zone: v.zone, UserID: userID}
	rows, err := c.reports.Breakdown(v.Context(), v.viewer, query, by)
	if err != nil {
		return nil, err
	}
	shown := rows
	if v.format() == "" {
		shown = rows[:min(len(rows), mostShown)]
	}
	l := links{c.options.Path, chosen, query.UserID}
	page := &usagePage{By: by, UserID: query.UserID, Ways: reports.Breakdowns(), More: len(rows) - len(shown)}
	if page.Table = rowsTable("Usage by "+by, by, shown, l); by == "tool" {
		page.Table = toolsTable(shown, l)
	}
	page.Table.Saved = ""
	return &answer{view: "usage", title: "Usage by " + by, data: page, file: "usage", table: page.Table, json: rows, chosen: chosen}, nil
}
