package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/shopspring/decimal"

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
func millis(n int64) string {
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

// pretty returns JSON with a member a line, and any other text as it is. What cannot be seen, or changes the direction of
// text, is replaced.
func pretty(text any) string {
	raw := []byte(fmt.Sprint(text))
	if message, ok := text.(json.RawMessage); ok {
		raw = message
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err == nil {
		raw = out.Bytes()
	}
	return visible(string(raw))
}

func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || isBidi(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func isBidi(r rune) bool {
	return r >= '\u202A' && r <= '\u202E' || r >= '\u2066' && r <= '\u2069' || r == '\u200E' || r == '\u200F' || r == '\u061C'
}

func allTokens(f reports.Figures) int64 { return f.Input + f.CacheRead + f.CacheWrite + f.Output }

// texts returns a list of texts in a line.
func texts(list []string) string { return strings.Join(list, ", ") }

// noPrice is what a page shows in the place of a cost that nobody knows. It is not 0.
const noPrice = "no price"

func nothingPriced(f reports.Figures) bool { return f.USD.IsZero() && f.Unpriced > 0 }

// costText returns a cost in a line, with what is not certain of it.
func costText(f reports.Figures) string {
	if nothingPriced(f) {
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

// figureColumns are the columns of figureCells.
func figureColumns() []string {
	return []string{"Requests", "Errors", "Input", "Cached", "Output", "Cost in USD", "Unpriced", "First byte"}
}

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
	if nothingPriced(f) {
		cost.Text, cost.Raw = noPrice, ""
	}
	if links != nil {
		cost.Href = links()
	}
	if !f.Estimated.IsZero() {
		cost.Note = money(f.Estimated) + " of it is estimated"
	}
	return []cell{
		linked(f.Requests), linked(f.Errors, "failed", "yes"), number(f.Input, ""), number(f.CacheRead+f.CacheWrite, ""), number(f.Output, ""),
		cost, linked(f.Unpriced, "unpriced", "yes"), {Text: millis(f.FirstByte), Raw: strconv.FormatInt(f.FirstByte, 10)},
	}
}
