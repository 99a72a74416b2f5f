package console

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

// overviewPage is what the overview shows.
type overviewPage struct {
	*reports.Overview

	By, UserID string
	Cost       plot
	Tokens     plot
	Days       *table
	Tables     []*table
	CacheShare string
	ErrorShare string
	AllTokens  int64
	Change     string // Of the cost, against the range before.
	Warnings   []string
}

// plot is what a script draws. A table has the same.
type plot struct {
	Caption string   `json:"caption"`
	Unit    string   `json:"unit"`
	Days    []int64  `json:"days"`   // Seconds since 1970.
	Labels  []string `json:"labels"` // Of the days.
	Hrefs   []string `json:"hrefs"`
	Series  []series `json:"series"`
}

type series struct {
	Name   string    `json:"name"`
	Href   string    `json:"-"`
	Values []float64 `json:"values"`
}

// JSON returns the plot for the script.
func (p plot) JSON() (string, error) {
	text, err := json.Marshal(p)
	return string(text), err
}

// overview shows what a range adds up to.
func (c *Console) overview(v *visit) (*answer, error) {
	chosen, err := v.choose("30d")
	if err != nil {
		return nil, err
	}
	q := v.URL.Query()
	by := reports.ByModel
	if q.Get("by") == "user" {
		by = reports.ByUser
	}
	userID, err := c.userID(v, q.Get("user"))
	if err != nil {
		return nil, err
	}
	query := reports.Query{Range: chosen.Range, Zone: v.zone, UserID: userID}
	found, err := c.reports.Overview(v.Context(), v.viewer, query, by)
	if err != nil {
		return nil, err
	}
	total := found.Total
	o := &overviewPage{
		Overview: found, By: "model", UserID: query.UserID, AllTokens: allTokens(total),
		CacheShare: share(total.CacheRead, total.Input+total.CacheRead+total.CacheWrite), ErrorShare: share(total.Errors, total.Requests),
		Change: change(found.Before.USD, total.USD),
	}
	if by == reports.ByUser {
		o.By = "user"
	}
	if o.Warnings, err = c.warnings(v, cmp.Or(userID, v.viewer.UserID)); err != nil {
		return nil, err
	}
	p := links{c.options.Path, chosen, query.UserID}
	o.draw(p, v.zone)
	for _, one := range []struct {
		caption, by, param string
		rows               []reports.Row
	}{
		{"Users", "user", "user", found.Users}, {"Models", "model", "model", found.Models}, {"Clients", "client", "client", found.Clients},
		{"Tools", "tool", "tool", nil}, {"Providers", "provider", "provider", found.Providers}, {"Outcomes", "outcome", "outcome", found.Outcomes},
	} {
		t := rowsTable(one.caption, one.by, one.rows, p)
		t.Saved = p.path("usage", "by", one.by)
		if one.by == "tool" {
			t = toolsTable(found.Tools, p)
		}
		o.Tables = append(o.Tables, t)
	}
	return &answer{view: "overview", title: "Overview", data: o, file: "overview", table: o.Days, json: found, chosen: chosen}, nil
}

// links make the addresses of lists of what is in a range.
type links struct {
	base string
	chosen
	userID string
}

func (l links) path(path string, pairs ...string) string {
	return l.base + path + "?" + l.with(append([]string{"user", l.userID}, pairs...)...)
}

// interceptions returns the address of the interceptions with these values.
func (l links) interceptions(pairs ...string) string { return l.path("interceptions", pairs...) }

// of returns the links of a row, whose interceptions have a value.
func (l links) of(param, value string) func(pairs ...string) string {
	if value == "" || withoutSecrets(value) != value {
		return nil // No list has only those without a value, and a link without its secret leads to nothing.
	}
	return func(pairs ...string) string { return l.interceptions(append([]string{param, value}, pairs...)...) }
}

// change returns how much more, or less, something costs than before.
func change(before, now decimal.Decimal) string {
	if before.IsZero() {
		return ""
	}
	percent := now.Sub(before).Div(before).Shift(2).Round(0)
	if percent.IsPositive() {
		return "+" + percent.String() + " %"
	}
	return percent.String() + " %"
}

// draw makes the plots and the table of days.
func (o *overviewPage) draw(l links, zone *time.Location) {
	o.Cost = plot{Caption: "Cost by day, in USD", Unit: "USD"}
	o.Tokens = plot{Caption: "Tokens by day", Unit: "tokens"}
	o.Days = &table{Caption: "Days", Columns: append(columns([]string{"Day"}), figureColumns()...), Saved: l.path("usage", "by", "day")}
	names := map[string]string{}
	for _, row := range o.Users {
		names[row.Value] = row.Name
	}
	for _, value := range o.Values {
		name := value.Name
		if known := names[value.Value]; o.By == "user" && known != "" {
			name = known
		}
		one := series{Name: name, Href: l.interceptions(o.By, value.Value)}
		o.Cost.Series, o.Tokens.Series = append(o.Cost.Series, one), append(o.Tokens.Series, one)
	}
	if slices.ContainsFunc(o.Overview.Days, func(d reports.Day) bool { return d.Others.Requests > 0 }) || len(o.Values) == 0 {
		others := series{Name: "others", Href: l.path("usage", "by", o.By)}
		o.Cost.Series, o.Tokens.Series = append(o.Cost.Series, others), append(o.Tokens.Series, others)
	}
	for i, day := range o.Overview.Days {
		end := l.Range.To
		if i+1 < len(o.Overview.Days) {
			end = o.Overview.Days[i+1].Begin
		}
		label := day.Begin.In(zone).Format("Mon 2 Jan 2006")
		ends := []string{"from", day.Begin.UTC().Format(time.RFC3339), "to", end.UTC().Format(time.RFC3339)}
		ofDay := func(pairs ...string) string { return l.withoutRange().interceptions(append(ends, pairs...)...) }
		for _, p := range []*plot{&o.Cost, &o.Tokens} {
			p.Days, p.Labels, p.Hrefs = append(p.Days, day.Begin.Unix()), append(p.Labels, label), append(p.Hrefs, ofDay())
		}
		for n := range o.Cost.Series {
			figures := day.Others
			if n < len(o.Values) {
				figures = day.By[o.Values[n].Value]
			}
			o.Cost.Series[n].Values = append(o.Cost.Series[n].Values, figures.USD.InexactFloat64())
			o.Tokens.Series[n].Values = append(o.Tokens.Series[n].Values, float64(allTokens(figures)))
		}
		first := cell{Text: label, Raw: day.Begin.In(zone).Format(time.DateOnly), Href: ofDay()}
		o.Days.Rows = append(o.Days.Rows, append([]cell{first}, figureCells(day.Total, ofDay)...))
	}
}

// withoutRange returns links without the range of the page.
func (l links) withoutRange() links {
	values := map[string][]string{}
	if zone, ok := l.values["zone"]; ok {
		values["zone"] = zone
	}
	l.chosen = chosen{Range: l.Range, values: values}
	return l
}

// rowsTable returns a table of what a range is split by.
func rowsTable(caption, by string, rows []reports.Row, l links) *table {
	t := &table{Caption: caption, Columns: append([]column{{Name: nameOf(by)}, {Name: "ID", OnlySaved: true}}, figureColumns()...)}
	for _, row := range rows {
		behind := l.of(by, row.Value)
		first := cell{Text: row.Name, Raw: row.Name}
		switch by {
		case "group":
			if row.Value == reports.NoGroup {
				first = cell{Text: "no group"}
				behind = func(pairs ...string) string {
					return l.interceptions(append([]string{"ungrouped", "yes"}, pairs...)...)
				}
			}
		case "day":
			behind = func(pairs ...string) string {
				return l.withoutRange().interceptions(append([]string{"from", row.Value, "to", row.Value}, pairs...)...)
			}
		case "session":
			first.Href, behind = l.base+"sessions/"+row.Value, nil
		}
		if behind != nil {
			first.Href = behind()
		}
		if first.Text == "" {
			first.Text = "not told"
		}
		id := cell{Text: row.Value, IsUnknown: row.Value == ""}
		t.Rows = append(t.Rows, append([]cell{first, id}, figureCells(row.Figures, behind)...))
	}
	return t
}

// toolsTable returns a table of the tools that were called most.
func toolsTable(rows []reports.ToolRow, l links) *table {
	t := &table{Caption: "Tools", Columns: columns([]string{"Tool"}, "Calls"), Saved: l.path("usage", "by", "tool")}
	for _, row := range rows {
		first := cell{Text: row.Name}
		calls := cell{Text: count(row.ToolCalls), Raw: strconv.FormatInt(row.ToolCalls, 10)}
		if behind := l.of("tool", row.Value); behind != nil {
			first.Href, calls.Href = behind(), behind()
		}
		t.Rows = append(t.Rows, []cell{first, calls})
	}
	return t
}

func nameOf(by string) string {
	names := map[string]string{
		"user": "User", "group": "Group", "model": "Model", "client": "Client", "provider": "Provider", "tool": "Tool", "outcome": "Outcome",
		"day": "Day", "session": "Session",
	}
	return names[by]
}

// NothingPriced reports whether nothing in the range has a price.
func (o *overviewPage) NothingPriced() bool { return o.Total.NothingPriced() }
