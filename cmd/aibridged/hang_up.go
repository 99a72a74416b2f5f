package main

import (
	"context"
	"os"
	"os/signal"
	"reflect"
	"syscall"

	"cdr.dev/slog/v3"
)

// hasTerminal reports whether the process has a terminal that can go away.
func hasTerminal() bool {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	_ = terminal.Close()
	return true
}

// hangUps reads the configuration again at each SIGHUP, where that does not say that the terminal goes away.
type hangUps struct {
	file    string
	running config                                                   // What was there at the start: all of it but providers and MCP servers is still what counts.
	take    func(ctx context.Context, c config, _ slog.Logger) error // Takes what was read.
	logger  slog.Logger

	signals chan os.Signal
	cancel  context.CancelFunc
	done    chan struct{}
}

// hangUpSignals returns where SIGHUP comes from now on, so that it no longer ends the process, unless it says that the
// terminal goes away, or is ignored.
func hangUpSignals() chan os.Signal {
	signals := make(chan os.Signal, 1)
	if !hasTerminal() && !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	return signals
}

// startHangUps starts to listen. Take gets what was read again. The caller closes it.
func startHangUps(
	ctx context.Context, signals chan os.Signal, file string, c config, take func(context.Context, config, slog.Logger) error, logger slog.Logger,
) *hangUps {
	ctx, cancel := context.WithCancel(ctx)
	h := &hangUps{file: file, running: c, take: take, logger: logger.Named("config"), signals: signals, cancel: cancel, done: make(chan struct{})}
	go h.run(ctx)
	return h
}

func (h *hangUps) run(ctx context.Context) {
	defer close(h.done)
	for {
		select {
		case <-h.signals:
		case <-ctx.Done():
			return
		}
		if err := h.reload(ctx); err != nil {
			h.logger.Error(ctx, "the configuration was not taken, the previous one stays", slog.Error(err))
		}
	}
}

// reload puts the providers and MCP servers of the configuration into the database, from where they are served.
func (h *hangUps) reload(ctx context.Context) error {
	c, err := loadConfig(h.file)
	if err != nil {
		return err
	}
	if err := c.checkProviders(); err != nil {
		return err
	}
	if err := h.take(ctx, c, h.logger); err != nil {
		return err
	}
	if !reflect.DeepEqual(c.fixed(), h.running.fixed()) {
		h.logger.Warn(ctx, "the configuration has changed in more than providers and mcp_servers: the rest takes a new start")
	}
	h.logger.Info(ctx, "the configuration was read again", slog.F("file", h.file))
	return nil
}

// fixed returns what a new start is needed for.
func (c config) fixed() config {
	c.Providers, c.MCPServers = nil, nil
	return c
}

func (h *hangUps) close() {
	h.cancel()
	<-h.done
}
