package budget

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// Amount is a sum of money in millionths of a millionth of a dollar, as costs are kept.
type Amount int64

// Dollar is one dollar.
const Dollar Amount = 1_000_000_000_000

// most is the largest amount. What would be beyond it stays there.
const most Amount = math.MaxInt64

// String returns the amount in dollars, with two to four digits behind the point.
func (a Amount) String() string {
	const shown = Dollar / 10_000
	sign, n := "", uint64(a)
	if a < 0 {
		sign, n = "-", -n
	}
	n = (n + uint64(shown)/2) / uint64(shown)
	text := fmt.Sprintf("%s$%d.%04d", sign, n/10_000, n%10_000)
	for range 2 {
		text = strings.TrimSuffix(text, "0")
	}
	return text
}

// plus adds two amounts that are not negative.
func (a Amount) plus(b Amount) Amount {
	if a > most-b {
		return most
	}
	return a + b
}

// times returns what n units cost, for a price and a number that are not negative.
func (a Amount) times(n int64) Amount {
	high, low := bits.Mul64(uint64(a), uint64(n))
	if high != 0 || low > uint64(most) {
		return most
	}
	return Amount(low)
}

// total adds up amounts, also where the sum is beyond an Amount in between. The zero total is 0.
type total struct{ high, low Amount }

const totalSplit = 1_000_000

// add adds an amount sign times.
func (t *total) add(a, sign Amount) {
	t.high += sign * (a / totalSplit)
	t.low += sign * (a % totalSplit)
}

// amount returns the sum, which is not negative.
func (t *total) amount() Amount {
	if t.high >= most/totalSplit/2 {
		return most
	}
	return t.high*totalSplit + t.low
}
