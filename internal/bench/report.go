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
	fmt.Printf("gateway: the gateway with its control plane and SQLite in the same process, as `aibridged serve` runs it.\n\n")
	table := tabwriter.NewWriter(os.Stdout, 0, 4, 1, ' ', 0)
	fmt.Fprintln(table, "|\t| bare\t| library\t| gateway\t| library/bare\t| gateway/bare\t|")
	fmt.Fprintln(table, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, m := range measurements() {
		figures := map[*process][]float64{}
		for range rounds {
			base := 0.0
			if m.added {
				if base, err = m.measure(ctx, direct); err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
			}
			for _, p := range proxies {
				figure, err := m.measure(ctx, p)
				if err != nil {
					return fmt.Errorf("%s: %w", m.name, err)
				}
				figures[p] = append(figures[p], figure-base)
			}
		}
		bare, library, gateway := median(figures[proxies[0]]), median(figures[proxies[1]]), median(figures[proxies[2]])
		fmt.Fprintf(table, "| %s\t| %.1f %s\t| %.1f %s\t| %.1f %s\t| %.2f\t| %.2f\t|\n",
			m.name, bare, m.unit, library, m.unit, gateway, m.unit, library/bare, gateway/bare)
		_ = table.Flush()
	}
	return nil
}
