package reports

import (
	"encoding/json"
	"strconv"
	"time"
)

// MarshalJSON implements [json.Marshaler]. A tool has no tokens and no cost: they are those of requests.
func (l Line) MarshalJSON() ([]byte, error) {
	type over struct {
		From time.Time `json:"from"`
		To   time.Time `json:"to"`
	}
	if l.By == "tool" {
		return json.Marshal(struct {
			ToolRow
			over
		}{l.Tool(), over{l.From, l.To}})
	}
	return json.Marshal(struct {
		Row
		over
	}{l.Row, over{l.From, l.To}})
}

// LineColumns returns the names of the cells of [Line.Cells].
func LineColumns(by string) []string {
	if by == "tool" {
		return []string{by, "id", "requests", "tool_calls", "from", "to"}
	}
	return []string{
		by, "id", "requests", "errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "usd", "estimated_usd",
		"unpriced_requests", "unpriced_tokens", "tool_calls", "first_byte_p50_ms", "from", "to",
	}
}

// Cells returns the line as comma-separated values have it. What is not known is empty.
func (l Line) Cells() []string {
	cells := []string{CSVCell(l.Name), CSVCell(l.Value)}
	number := func(numbers ...int64) {
		for _, n := range numbers {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
	}
	if l.By == "tool" {
		number(l.Requests, l.ToolCalls)
	} else {
		number(l.Requests, l.Errors, l.Input, l.Output, l.CacheRead, l.CacheWrite)
		cost := l.USD.String()
		if l.NothingPriced() {
			cost = ""
		}
		cells = append(cells, cost, l.Estimated.String())
		number(l.Unpriced, l.UnpricedTokens, l.ToolCalls)
		firstByte := ""
		if l.FirstByte != 0 {
			firstByte = strconv.FormatInt(int64(l.FirstByte), 10)
		}
		cells = append(cells, firstByte)
	}
	return append(cells, l.From.Format(time.RFC3339), l.To.Format(time.RFC3339))
}

// NothingPriced reports whether there is something without a price, and nothing with one: the cost is unknown.
func (f Figures) NothingPriced() bool { return f.USD.IsZero() && f.Unpriced > 0 }
