package reports

import (
	"database/sql"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// tally holds the sums that are kept: of an interception, a session, or a quarter of an hour.
type tally [columns]int64

// The columns of a tally, in the order of columnNames.
const (
	requests = iota
	failed
	input
	output
	cacheRead
	cacheWrite
	cost      // In millionths of a millionth of a dollar.
	estimated // The part of cost that is estimated.
	unpriced  // How many requests have a part without a price.
	unpricedTokens
	calls // Of tools.
	firstBytes

	slots       = 10 // How many numbers count first bytes.
	columns     = firstBytes + slots
	sessionWide = firstBytes // How many of them a session has.
)

func columnNames() [columns]string {
	return [...]string{
		"requests", "errors", "input", "output", "cache_read", "cache_write", "cost", "estimated", "unpriced", "unpriced_tokens", "calls",
		"first_byte_0", "first_byte_1", "first_byte_2", "first_byte_3", "first_byte_4", "first_byte_5", "first_byte_6", "first_byte_7",
		"first_byte_8", "first_byte_9",
	}
}

// columnList returns the names of the first n columns, each behind prefix.
func columnList(n int, prefix string) string {
	names := columnNames()
	return prefix + strings.Join(names[:n], ", "+prefix)
}

// sumList returns the sums of the first n columns. Amounts come as two sums, of their upper and their lower digits: a sum
// of amounts may be beyond an integer.
func sumList(n int) string {
	sums := make([]string, n)
	for i, name := range columnNames() {
		if i == n {
			break
		}
		sums[i] = "coalesce(sum(" + name + "), 0)"
		if i == cost || i == estimated {
			sums[i] = "coalesce(sum(" + name + " / 1000000), 0), coalesce(sum(" + name + " % 1000000), 0)"
		}
	}
	return strings.Join(sums, ", ")
}

// scaled adds another tally, times a factor.
func (t *tally) scaled(other tally, by int64) {
	for i, n := range other {
		t[i] += by * n
	}
}

// amount returns a number of dollars as it is kept, at most mostCost. What is beyond its digits is rounded.
func amount(usd decimal.Decimal) int64 {
	kept := usd.Shift(12).Round(0)
	if kept.GreaterThan(decimal.NewFromInt(mostCost)) {
		return mostCost
	}
	return kept.IntPart()
}

func dollars(kept int64) decimal.Decimal { return decimal.New(kept, -12) }

// slotEnds are the upper ends of the times that the numbers of first bytes count, but for the last one, which has none.
func slotEnds() [slots - 1]time.Duration {
	return [...]time.Duration{
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond, time.Second,
		1500 * time.Millisecond, 2500 * time.Millisecond, 5 * time.Second, 15 * time.Second,
	}
}

// slot returns which number counts a first byte.
func slot(took time.Duration) int {
	for i, end := range slotEnds() {
		if took < end {
			return i
		}
	}
	return slots - 1
}

// Figures are sums over interceptions.
type Figures struct {
	Requests   int64 `json:"requests"`
	Errors     int64 `json:"errors"`
	Input      int64 `json:"input_tokens"` // Without cached tokens.
	Output     int64 `json:"output_tokens"`
	CacheRead  int64 `json:"cache_read_tokens"`
	CacheWrite int64 `json:"cache_write_tokens"`
	// USD is the cost of what has a price. Estimated is the part of it that is estimated.
	USD       decimal.Decimal `json:"usd"`
	Estimated decimal.Decimal `json:"estimated_usd"`
	// Unpriced is how many requests have a part without a price, which USD does not have, and UnpricedTokens how many tokens
	// that is.
	Unpriced       int64 `json:"unpriced_requests"`
	UnpricedTokens int64 `json:"unpriced_tokens"`
	ToolCalls      int64 `json:"tool_calls"`
	// FirstByte is about how long half of the requests took at most to their first byte. Zero: not known.
	FirstByte Milliseconds `json:"first_byte_p50_ms"`

	firstBytes [slots]int64
}

// Milliseconds is a time that may not be known. In JSON it is null then.
type Milliseconds int64

// MarshalJSON implements [json.Marshaler].
func (m Milliseconds) MarshalJSON() ([]byte, error) {
	if m == 0 {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, int64(m), 10), nil
}

// CacheShare returns which part of the prompts' tokens was read from a cache, from 0 to 1.
func (f Figures) CacheShare() float64 {
	if prompt := f.Input + f.CacheRead + f.CacheWrite; prompt > 0 {
		return float64(f.CacheRead) / float64(prompt)
	}
	return 0
}

// ErrorShare returns which part of the requests failed, from 0 to 1.
func (f Figures) ErrorShare() float64 {
	if f.Requests == 0 {
		return 0
	}
	return float64(f.Errors) / float64(f.Requests)
}

// Add adds other figures.
func (f *Figures) Add(other Figures) {
	f.Requests += other.Requests
	f.Errors += other.Errors
	f.Input += other.Input
	f.Output += other.Output
	f.CacheRead += other.CacheRead
	f.CacheWrite += other.CacheWrite
	f.USD = f.USD.Add(other.USD)
	f.Estimated = f.Estimated.Add(other.Estimated)
	f.Unpriced += other.Unpriced
	f.UnpricedTokens += other.UnpricedTokens
	f.ToolCalls += other.ToolCalls
	for i, n := range other.firstBytes {
		f.firstBytes[i] += n
	}
	f.FirstByte = Milliseconds(median(f.firstBytes).Milliseconds())
}

// figures returns a tally as figures.
func (t tally) figures() Figures {
	f := Figures{
		Requests: t[requests], Errors: t[failed], Input: t[input], Output: t[output], CacheRead: t[cacheRead], CacheWrite: t[cacheWrite],
		USD: dollars(t[cost]), Estimated: dollars(t[estimated]), Unpriced: t[unpriced], UnpricedTokens: t[unpricedTokens],
		ToolCalls: t[calls],
	}
	copy(f.firstBytes[:], t[firstBytes:])
	f.FirstByte = Milliseconds(median(f.firstBytes).Milliseconds())
	return f
}

// median returns about the time that half of the first bytes took at most: within a slot they count as evenly spread.
func median(counts [slots]int64) time.Duration {
	var all int64
	for _, n := range counts {
		all += n
	}
	left := (all + 1) / 2
	var begin time.Duration
	for i, end := range slotEnds() {
		n := counts[i]
		if all == 0 || left <= n {
			return begin + time.Duration(float64(end-begin)*float64(left)/float64(max(n, 1)))
		}
		left -= n
		begin = end
	}
	return begin
}

// scanSums reads the sums of the first n columns behind what before reads.
func scanSums(rows *sql.Rows, n int, before ...any) (f Figures, err error) {
	var w wide
	targets := before
	for i := range n {
		if i == cost || i == estimated {
			targets = append(targets, &w.high[i-cost])
		}
		targets = append(targets, &w.tally[i])
	}
	err = rows.Scan(targets...)
	return w.figures(), err
}

// wide adds up tallies whose amounts together may be beyond an integer.
type wide struct {
	tally

	high [2]int64 // The upper digits of cost and estimated.
}

func (w *wide) figures() Figures {
	f := w.tally.figures()
	f.USD, f.Estimated = decimal.New(w.high[0], -6).Add(f.USD), decimal.New(w.high[1], -6).Add(f.Estimated)
	return f
}

// targets returns where the first n columns of a row go.
func (t *tally) targets(n int) []any {
	targets := make([]any, n)
	for i := range targets {
		targets[i] = &t[i]
	}
	return targets
}
