package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
)

// money returns an amount for people. Small ones have two digits that count.
func money(usd decimal.Decimal) string {
	places := int32(2)
	for limit := decimal.New(1, -1); !usd.IsZero() && usd.Abs().LessThan(limit) && places < 8; limit = limit.Shift(-1) {
		places++
	}
	text := usd.Abs().StringFixed(places)
	whole, part, _ := strings.Cut(text, ".")
	sign := "$"
	if usd.IsNegative() {
		sign = "-$"
	}
	return sign + grouped(whole) + "." + part
}

// count returns a number for people.
func count(n int64) string {
	if n < 0 {
		return "-" + grouped(strconv.FormatInt(-n, 10))
	}
	return grouped(strconv.FormatInt(n, 10))
}

func grouped(digits string) string {
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// short returns a large number in three digits.
func short(n int64) string {
	value, unit := float64(n), ""
	for _, next := range []string{"k", "M", "G", "T"} {
		if value < 1000 && value > -1000 {
			break
		}
		value, unit = value/1000, next
	}
	if unit == "" {
		return strconv.FormatInt(n, 10)
	}
	return strconv.FormatFloat(value, 'g', 3, 64) + unit
}

// share returns a part of a whole in percent.
func share(part, whole int64) string {
	if whole == 0 {
		return "–"
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 1, 64) + " %"
}

// millis returns a time in milliseconds, or a dash if it is not known.
func millis(n reports.Milliseconds) string {
	if n == 0 {
		return "–"
	}
	return took(time.Duration(n) * time.Millisecond)
}

func took(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// pretty returns JSON with a member a line, and any other text as it is.
func pretty(text any) string {
	var raw []byte
	switch text := text.(type) {
	case json.RawMessage:
		raw = text
	case string:
		raw = []byte(text)
	default:
		raw = []byte(fmt.Sprint(text))
	}
	var out bytes.Buffer
	if nestsShallowly(raw) && json.Indent(&out, raw, "", "  ") == nil {
		raw = out.Bytes()
	}
	return string(raw)
}

// nestsShallowly reports whether JSON has no more levels than people write. Each level makes each of its lines longer.
func nestsShallowly(text []byte) bool {
	const most = 64
	depth := 0
	for _, c := range text {
		switch c {
		case '{', '[':
			if depth++; depth > most {
				return false
			}
		case '}', ']':
			depth--
		}
	}
	return true
}

func allTokens(f reports.Figures) int64 { return f.Input + f.CacheRead + f.CacheWrite + f.Output }

// mostListed is how many texts a page shows of a list in a line.
const mostListed = 20

// texts returns a list of texts in a line.
func texts(list []string) string {
	if more := len(list) - mostListed; more > 0 {
		return strings.Join(list[:mostListed], ", ") + " and " + count(int64(more)) + " more"
	}
	return strings.Join(list, ", ")
}

// noPrice is what a page shows in the place of a cost that nobody knows. It is not 0.
const noPrice = "no price"

// costText returns a cost in a line, with what is not certain of it.
func costText(f reports.Figures) string {
	if f.NothingPriced() {
		return noPrice
	}
	text := money(f.USD)
	if f.Unpriced > 0 {
		text += ", and a part without a price"
	}
	if !f.Estimated.IsZero() {
		text += ", " + money(f.Estimated) + " of it estimated"
	}
	return text
}

// priceText returns the cost of one interception, or of one usage of it, in a line with what is not certain of it.
func priceText(c prices.Cost) string {
	text := money(c.USD)
	switch {
	case c.HasUnknown() && c.USD.IsZero():
		text = noPrice
	case c.HasUnknown():
		text += ", and a part without a price"
	}
	if c.Estimated {
		text += ", estimated"
	}
	return text
}

// figureColumns are the columns of figureCells. The last one is the time to the first byte.
func figureColumns() []column {
	return []column{
		{Name: "Requests", Number: true}, {Name: "Errors", Number: true}, {Name: "Input", Number: true}, {Name: "Cached", Number: true},
		{Name: "Output", Number: true}, {Name: "Cost in USD", Number: true}, {Name: "Estimated in USD", Number: true, OnlySaved: true},
		{Name: "Unpriced", Number: true}, {Name: "Unpriced tokens", Number: true, OnlySaved: true}, {Name: "First byte", Number: true},
	}
}

// withoutFirstByte returns columns or cells of figures but for the time to the first byte.
func withoutFirstByte[T any](of []T) []T { return of[:len(of)-1] }

// figureCells returns the cells of figures. Links lead to what is behind them: all, what failed, and what has no price.
func figureCells(f reports.Figures, links func(pairs ...string) string) []cell {
	number := func(n int64, href string) cell {
		return cell{Text: count(n), Raw: strconv.FormatInt(n, 10), Href: href}
	}
	linked := func(n int64, pairs ...string) cell {
		if n == 0 || links == nil {
			return number(n, "")
		}
		return number(n, links(pairs...))
	}
	cost := cell{Text: money(f.USD), Raw: f.USD.String()}
	if f.NothingPriced() {
		cost.Text, cost.Raw = noPrice, ""
	}
	if links != nil {
		cost.Href = links()
	}
	if !f.Estimated.IsZero() {
		cost.Note = money(f.Estimated) + " of it is estimated"
	}
	firstByte := cell{Text: millis(f.FirstByte), Raw: strconv.FormatInt(int64(f.FirstByte), 10), IsUnknown: f.FirstByte == 0}
	return []cell{
		linked(f.Requests), linked(f.Errors, "failed", "yes"), number(f.Input, ""), number(f.CacheRead+f.CacheWrite, ""), number(f.Output, ""),
		cost, {Text: f.Estimated.String()}, linked(f.Unpriced, "unpriced", "yes"), number(f.UnpricedTokens, ""), firstByte,
	}
}
