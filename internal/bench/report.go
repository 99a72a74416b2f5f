package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"text/tabwriter"
)

// run starts the processes, measures them in turn and prints a table.
func run(ctx context.Context, rounds int) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var processes []*process
	defer func() {
		cancel()
		for _, p := range processes {
			_ = p.cmd.Wait() // It was told to stop.
		}
	}()
	begin := func(role, upstreamURL string) (*process, error) {
		p, err := start(ctx, role, upstreamURL)
		if err == nil {
			processes = append(processes, p)
		}
		return p, err
	}
	direct, err := begin("upstream", "")
	if err != nil {
		return err
	}
	var proxies []*process
	for _, role := range []string{"bare", "library", "gateway"} {
		p, err := begin(role, direct.url)
		if err != nil {
			return err
		}
		proxies = append(proxies, p)
	}

	fmt.Printf("%s, %d CPUs, medians of %d rounds. bare: ReverseProxy; library: the gateway, records delivered and not stored;\n", runtime.Version(), runtime.NumCPU(), rounds)
	fmt.Printf("gateway: durability sync, its control plane and SQLite in the same process, as `aibridged serve` runs it.\n\n")
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 1, ' ', 0)
	fmt.Fprintln(table, "|\t| bare\t| library\t| gateway\t| library/bare\t| gateway/bare\t|")
	fmt.Fprintln(table, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, m := range measurements() {
		figures, err := m.inTurn(ctx, direct, proxies, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", m.names[0], err)
		}
		for row, name := range m.names {
			bare, library, gateway := median(figures[0][row]), median(figures[1][row]), median(figures[2][row])
			fmt.Fprintf(table, "| %s\t| %.1f %s\t| %.1f %s\t| %.1f %s\t| %.2f\t| %.2f\t|\n",
				name, bare, m.unit, library, m.unit, gateway, m.unit, library/bare, gateway/bare)
		}
		_ = table.Flush()
	}
	return nil
}

// inTurn measures the proxies in turn, and returns the figures of each, by row and round.
func (m measurement) inTurn(ctx context.Context, direct *process, proxies []*process, rounds int) ([][][]float64, error) {
	figures := make([][][]float64, len(proxies))
	for i := range figures {
		figures[i] = make([][]float64, len(m.names))
	}
	for range rounds {
		base := make([]float64, len(m.names))
		if m.added {
			var err error
			if base, err = m.measure(ctx, direct); err != nil {
				return nil, err
			}
		}
		for i, p := range proxies {
			rows, err := m.measure(ctx, p)
			if err != nil {
				return nil, err
			}
			for row, figure := range rows {
				figures[i][row] = append(figures[i][row], figure-base[row])
			}
		}
	}
	return figures, nil
}
