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
	More       int // How many rows more there are.
	Total      string
}

// mostShown is how many rows a page shows of a long list. The files have more.
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
	if v.format() == "" {
		query.Limit = mostShown
	}
	found, err := c.reports.Breakdown(v.Context(), v.viewer, query, by)
	if err != nil {
		return nil, err
	}
	l := links{c.options.Path, chosen, query.UserID}
	page := &usagePage{By: by, UserID: query.UserID, Ways: reports.Breakdowns(), More: found.Left}
	if page.Table = rowsTable("Usage by "+by, by, found.Rows, l); by == "tool" {
		page.Table = toolsTable(found.Tools(), l)
	} else if found.HasOthers() || found.Left > 0 {
		page.Table.addOthers(found)
	}
	page.Table.Saved = ""
	if by != "tool" {
		page.Total = costText(found.Total)
	}
	var lacks *rest
	if found.Left > 0 {
		lacks = &rest{}
	}
	return &answer{
		view: "usage", title: "Usage by " + by, data: page, file: "usage-by-" + by, table: page.Table, json: notNil(found.Lines()), rest: lacks, chosen: chosen,
	}, nil
}

// addOthers adds a row with what the others lack of the total.
func (t *table) addOthers(of *reports.Breakdown) {
	first := []cell{{Text: of.OthersName()}, {IsUnknown: true}}
	t.Rows = append(t.Rows, append(first, figureCells(of.Others, nil)...))
}
