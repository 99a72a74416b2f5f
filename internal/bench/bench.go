package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// benchOptions are the optional settings of a run.
type benchOptions struct {
	rounds int    // Zero: five, or one if short is set.
	only   string // Keys of workloads, separated by commas. Empty: all.
	short  bool
	page   string // The data directory of one more gateway, whose page is open. Empty: there is none.
}

// The targets, in the order of the table's columns.
const (
	bare = iota
	gateway
	gatewayInMemory
	gatewayWithTools
)

// bench builds and starts everything, measures it in turn, and writes a table in Markdown.
func bench(ctx context.Context, out io.Writer, options benchOptions) (err error) {
	if err := checkSystem(); err != nil {
		return err
	}
	size, rounds := fullSizes(), 5
	if options.short {
		size, rounds = shortSizes(), 1
	}
	if options.rounds > 0 {
		rounds = options.rounds
	}
	selected, err := chosen(workloads(size), options.only)
	if err != nil {
		return err
	}
	g, err := newSetup(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(g.directory)) }()
	m, err := newComparison(ctx, g, options.page)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.stop()) }()

	t := newTable(m.targets)
	for _, w := range selected {
		figures, err := m.inTurn(ctx, w, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", w.key, err)
		}
		t.add(w, figures)
	}
	// stop also checks the logs of the servers. The figures count only if these are complete.
	if err := m.stop(); err != nil {
		return err
	}
	return t.write(out, m.remark(rounds))
}

// comparison holds the servers that are measured in turn.
type comparison struct {
	setup   *setup
	targets []target
	direct  *server   // The upstream itself.
	tools   *server   // The MCP server.
	servers []*server // One for each target.
}

// newComparison starts a server of each kind. The caller stops them.
func newComparison(ctx context.Context, g *setup, page string) (_ *comparison, err error) {
	m := &comparison{setup: g}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.stop())
		}
	}()
	if m.direct, err = g.role(roleUpstream).start(ctx); err != nil {
		return nil, err
	}
	g.upstream = "http://" + m.direct.address
	if m.tools, err = g.role(roleTools).start(ctx); err != nil {
		return nil, err
	}
	program := g.gateway("gateway", "")
	first, err := program.start(ctx)
	if err != nil {
		return nil, err
	}
	g.gogc, err = gogcOf(ctx, first)
	if err := errors.Join(err, first.stop()); err != nil {
		return nil, err
	}
	m.targets = []target{
		bare: g.role(roleBare), gateway: program, gatewayInMemory: g.gateway("`--durability memory`", "", "--durability", "memory"),
		gatewayWithTools: g.gateway(fmt.Sprintf("%d tools", toolCount), fmt.Sprintf("mcp_servers: [{id: bench, url: 'http://%s'}]\n", m.tools.address)),
	}
	if page != "" {
		m.targets = append(m.targets, g.withPage(page))
	}
	if target, isInstalled := g.nginx(); isInstalled {
		m.targets = append(m.targets, target)
	}
	for _, target := range m.targets {
		s, err := target.start(ctx)
		if err != nil {
			return nil, err
		}
		m.servers = append(m.servers, s)
	}
	return m, nil
}

// stop ends all servers, and returns their errors. It may be called twice.
func (m *comparison) stop() error {
	var errs []error
	for _, s := range m.servers {
		errs = append(errs, s.stop())
	}
	m.servers = nil
	for _, s := range []**server{&m.direct, &m.tools} {
		if *s != nil {
			errs = append(errs, (*s).stop())
			*s = nil
		}
	}
	return errors.Join(errs...)
}

// inTurn measures a workload on each server in each round, and returns the figures by target, row and round.
func (m *comparison) inTurn(ctx context.Context, w workload, rounds int) ([][][]float64, error) {
	if w.rounds > 0 {
		rounds = min(rounds, w.rounds)
	}
	figures := make([][][]float64, len(m.targets))
	for i := range figures {
		figures[i] = make([][]float64, len(w.rows))
	}
	for round := range rounds {
		base := make([]float64, len(w.rows))
		if w.base != nil {
			var err error
			if base, err = w.base(ctx, m); err != nil {
				return nil, err
			}
		}
		for i := range m.targets {
			i = (i + round) % len(m.targets) // Each round begins with another target.
			if !w.isFor(i) {
				continue
			}
			values, err := m.measure(ctx, w, i)
			if err != nil {
				return nil, err
			}
			for row, value := range values {
				figures[i][row] = append(figures[i][row], value-base[row])
				fmt.Fprintf(os.Stderr, "%s, round %d, %s: %.3f %s\n", w.rows[row].name, round+1, m.targets[i].name, value-base[row], w.rows[row].unit)
			}
		}
	}
	return figures, nil
}

// measure measures a workload on one server.
func (m *comparison) measure(ctx context.Context, w workload, i int) (_ []float64, err error) {
	s := m.servers[i]
	if w.isFresh {
		if s, err = m.targets[i].start(ctx); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.stop()) }()
	}
	return w.measure(ctx, s)
}

// remark returns the line below the table: machine, settings and number of rounds.
func (m *comparison) remark(rounds int) string {
	text := fmt.Sprintf("%s; GOGC=%s for the gateway and for the bare proxy; medians, rounds: %d", machine(), m.setup.gogc, rounds)
	if rounds > idleRounds {
		text += fmt.Sprintf(", of idle streams %d", idleRounds)
	}
	if isInMemory(m.setup.directory) {
		text += fmt.Sprintf("; %s is no disk: a sync costs nothing there", m.setup.directory)
	}
	return text + "."
}
