package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"text/tabwriter"
)

// table is the table that the bench prints.
type table struct {
	rows [][]string
}

// newTable returns a table with a column for each target, and one that compares the gateway with the bare proxy.
func newTable(targets []target) *table {
	t := &table{}
	head := []string{"workload", targets[bare].name, targets[gateway].name, "gateway/bare"}
	for i, other := range targets {
		if i > gateway {
			head = append(head, other.name)
		}
		if i == gatewayWithTools {
			head = append(head, "tools/gateway")
		}
	}
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "--:"
	}
	rule[0] = "---"
	t.rows = append(t.rows, head, rule)
	return t
}

// add adds the rows of a workload, with the medians of its figures.
func (t *table) add(w workload, figures [][][]float64) {
	for i, r := range w.rows {
		cells := []string{r.name, r.cell(figures[bare][i]), r.cell(figures[gateway][i]), r.compare(figures[bare][i], figures[gateway][i])}
		for target, other := range figures {
			if target > gateway {
				cells = append(cells, r.cell(other[i]))
			}
			if target == gatewayWithTools {
				cells = append(cells, r.compare(figures[gateway][i], other[i]))
			}
		}
		t.rows = append(t.rows, cells)
	}
}

// notMeasured is the cell of a target that a workload is not for.
const notMeasured = "–"

// compare computes the ratio or the difference within each round, and returns its median over the rounds.
func (r row) compare(one, other []float64) string {
	if len(one) == 0 || len(other) == 0 {
		return notMeasured
	}
	each := make([]float64, len(one))
	for i := range each {
		if each[i] = other[i] / one[i]; r.isDifference {
			each[i] = other[i] - one[i]
		}
	}
	if r.isDifference {
		return fmt.Sprintf("%+.2f %s", median(each), r.unit)
	}
	return fmt.Sprintf("%.2f", median(each))
}

// cell returns the median of figures with three significant digits, but at most two decimals.
func (r row) cell(figures []float64) string {
	if len(figures) == 0 {
		return notMeasured
	}
	value, decimals := median(figures), 0
	for size := math.Abs(value); size < 100 && decimals < 2; size *= 10 {
		decimals++
	}
	return fmt.Sprintf("%.*f %s", decimals, value, r.unit)
}

var errFigure = errors.New("a figure is not a number")

// write writes the table. It returns an error if a figure is not a number.
func (t *table) write(out io.Writer, remark string) error {
	writer := tabwriter.NewWriter(out, 0, 4, 1, ' ', 0)
	for _, row := range t.rows {
		for _, cell := range row {
			if strings.Contains(cell, "NaN") || strings.Contains(cell, "Inf") {
				return fmt.Errorf("%s: %w", row[0], errFigure)
			}
		}
		fmt.Fprintf(writer, "| %s |\n", strings.Join(row, "\t| "))
	}
	if err := writer.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n", remark)
	return err
}

// machine describes the machine that the figures come from.
func machine() string {
	return fmt.Sprintf("%d CPUs, %s on %s/%s", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
