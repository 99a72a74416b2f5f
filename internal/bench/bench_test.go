package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the main function of the processes that the bench starts.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		exitWith(serveRole(ctx, role))
	}
	goleak.VerifyTestMain(m)
}

// TestBench runs the whole bench with -short: nothing fails, and each row has a figure for each target.
func TestBench(t *testing.T) {
	if checkSystem() != nil {
		t.Skip(checkSystem())
	}
	var out bytes.Buffer
	if err := bench(t.Context(), &out, benchOptions{short: true}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	text := out.String()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	rows := 0
	for _, w := range workloads(shortSizes()) {
		rows += len(w.rows)
	}
	if len(lines) != 2+rows+2 {
		t.Fatalf("%d lines for %d rows:\n%s", len(lines), rows, text)
	}
	columns := strings.Count(lines[0], "|")
	if columns < 6 || !strings.Contains(lines[0], "| gateway ") || !strings.Contains(lines[0], "| bare ") {
		t.Errorf("columns: %s", lines[0])
	}
	figure := regexp.MustCompile(`^([+-]?[0-9.]+)( (µs|ms|KiB))?$`)
	for i, line := range lines[2 : 2+rows] {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != columns-1 {
			t.Fatalf("%d cells: %s", len(cells), line)
		}
		measured := 0
		for n, cell := range cells[1:] {
			if strings.TrimSpace(cell) == notMeasured {
				continue
			}
			measured++
			match := figure.FindStringSubmatch(strings.TrimSpace(cell))
			if match == nil {
				t.Fatalf("no figure %q: %s", cell, line)
			}
			value, err := strconv.ParseFloat(match[1], 64)
			// Added times may be lost in noise; nginx may need less than a step of the kernel's clock.
			if isAdded := i >= rows-6; err != nil || value < 0 && !isAdded || value == 0 && !isAdded && n < 3 {
				t.Errorf("figure %q: %s", cell, line)
			}
		}
		if measured < columns-4 && !(i == rows-1 && measured == 1) {
			t.Errorf("only %d figures: %s", measured, line)
		}
	}
	if last := lines[len(lines)-1]; !regexp.MustCompile(`^\d+ CPUs, go\S+ .*; GOGC=400 for .*, rounds: 1`).MatchString(last) {
		t.Errorf("the last line: %s", last)
	}
	t.Log("\n" + text)
}

func TestOnly(t *testing.T) {
	all := workloads(fullSizes())
	if some, err := chosen(all, "idle,blocking"); err != nil || len(some) != 2 || some[0].key != "blocking" || some[1].key != "idle" {
		t.Errorf("%v, %v", some, err)
	}
	if some, err := chosen(workloads(fullSizes()), ""); err != nil || len(some) != len(workloadKeys()) {
		t.Errorf("%v, %v", some, err)
	}
	if _, err := chosen(workloads(fullSizes()), "idle,none"); err == nil || !strings.Contains(err.Error(), "blocking, large") {
		t.Errorf("an unknown one: %v", err)
	}
}

// TestTable checks that ratios and differences are taken within rounds, since a disturbance affects a whole round.
func TestTable(t *testing.T) {
	targets := []target{{name: "bare"}, {name: "gateway"}, {name: "other"}, {name: "tools"}}
	table := newTable(targets)
	table.add(workload{rows: []row{{name: "a", unit: "µs"}, {"b", "ms", true}}}, [][][]float64{
		{{100, 10, 1}, {1, 2, 3}}, {{150, 20, 30}, {1.5, 2.25, 3}}, {{1, 2, 1234.5}, {-0.5, 0.004, 12.345}},
		{{200, 20, 40}, nil},
	})
	table.add(workload{rows: []row{{"c", "ms", true}}}, [][][]float64{{nil}, {nil}, {nil}, {{1, 1, 1}}})
	var out bytes.Buffer
	if err := table.write(&out, "remark"); err != nil {
		t.Fatal(err)
	}
	want := `| workload | bare    | gateway | gateway/bare | other   | tools   | tools/gateway |
| ---      | --:     | --:     | --:          | --:     | --:     | --: |
| a        | 10.0 µs | 30.0 µs | 2.00         | 2.00 µs | 40.0 µs | 1.33 |
| b        | 2.00 ms | 2.25 ms | +0.25 ms     | 0.00 ms | –       | – |
| c        | –       | –       | –            | –       | 1.00 ms | – |

remark
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	table.add(workload{rows: []row{{name: "d", unit: "µs"}}}, [][][]float64{{{0}}, {{1}}, {{1}}, {{1}}})
	if err := table.write(&out, ""); err == nil {
		t.Error("a ratio to nothing is a figure")
	}
}
