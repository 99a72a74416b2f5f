package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
)

// TestPrices compares the costs of the listed usages, whose arithmetic is written beside them and checked by the tests of
// the prices, with those that the npm package computes which the embedded table is made from.
func TestPrices(t *testing.T) {
	t.Parallel()
	directory, err := filepath.Abs("../aibridgedserver/prices")
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.Open(filepath.Join(directory, "testdata/usages.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	// The package reads its own data: it is resolved beside its lock file.
	command := exec.CommandContext(t.Context(), "node", "--input-type=module", "-e", priceScript)
	command.Dir = filepath.Join(directory, "generate")
	command.Stdin, command.Stderr = list, os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	compared := 0
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); compared++ {
		var one struct {
			Line string
			USD  *decimal.Decimal
		}
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			t.Fatal(err)
		}
		_, arithmetic, _ := strings.Cut(one.Line, " = ")
		if want := evaluate(t, arithmetic); one.USD == nil || one.USD.Sub(want).Abs().GreaterThan(decimal.New(1, -6)) {
			t.Errorf("%s: the package says %v, want %s", one.Line, one.USD, want)
		}
	}
	if compared < 100 {
		t.Errorf("compared %d usages", compared)
	}
}

// TestPriceTable makes the embedded table anew: it is what is committed.
func TestPriceTable(t *testing.T) {
	t.Parallel()
	const directory = "../aibridgedserver/prices"
	command := exec.CommandContext(t.Context(), "node", "generate.mjs")
	command.Dir, command.Stderr = filepath.Join(directory, "generate"), os.Stderr
	got, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(directory, "table.json"))
	if err != nil || string(got) != string(want) {
		t.Errorf("it differs (%v): run make prices", err)
	}
}

// evaluate returns the value of a sum of products, in millionths.
func evaluate(t *testing.T, text string) (sum decimal.Decimal) {
	t.Helper()
	for term := range strings.SplitSeq(text, " + ") {
		product := decimal.New(1, -6)
		for number := range strings.SplitSeq(term, "*") {
			factor, err := decimal.NewFromString(number)
			if err != nil {
				t.Fatal(err)
			}
			product = product.Mul(factor)
		}
		sum = sum.Add(product)
	}
	return sum
}

const priceScript = `
import { calcPrice } from '@pydantic/genai-prices'
import { readFileSync } from 'node:fs'
const vendors = { bedrock: 'aws' }
for (const line of readFileSync(0, 'utf8').split('\n')) {
  if (line === '' || line.startsWith('#')) continue
  const [kind, model, at, ...counts] = line.split(' = ')[0].split(' ')
  const [input, read, write5m, write1h, output, searches] = counts.map(Number)
  const usage = { input_tokens: input + read + write5m + write1h, output_tokens: output }
  if (read) usage.cache_read_tokens = read
  if (write5m + write1h) usage.cache_write_tokens = write5m + write1h
  if (write1h) usage.cache_write_1h_tokens = write1h
  if (searches) usage.web_searches = searches
  const price = calcPrice(usage, model, { providerId: vendors[kind] ?? kind, timestamp: new Date(at) })
  console.log(JSON.stringify({ line, usd: price === null ? null : price.total_price.toFixed(12) }))
}`
