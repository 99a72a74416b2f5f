package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"
	"github.com/spf13/cobra"
)

const defaultListen = "127.0.0.1:4001"

func newServeCommand(s *settings) *cobra.Command {
	var (
		listen  string
		dumpDir string
		verbose bool
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway, with its control plane in the same process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(s.configFile)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("listen") && c.Listen != "" {
				listen = c.Listen
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			logger := slog.Make(sloghuman.Sink(cmd.ErrOrStderr())).Leveled(level)
			return serve(cmd.Context(), cmd.OutOrStdout(), *s, c, serveOptions{listen: listen, dumpDir: dumpDir, logger: logger})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", defaultListen, "address to listen on")
	cmd.Flags().StringVar(&dumpDir, "dump-dir", "", "write every upstream request and response there, credentials redacted")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log more")
	return cmd
}

type serveOptions struct {
	listen  string
	dumpDir string
	logger  slog.Logger
}

func serve(ctx context.Context, out io.Writer, s settings, c config, options serveOptions) error {
	if os.Getenv("GOGC") == "" {
		// A gateway's heap is small and nearly all of it is garbage soon: to collect it less often costs some megabytes and
		// saves a tenth of the CPU time.
		debug.SetGCPercent(400)
	}
	// The port first: a gateway that cannot be reached should not open its database.
	listener, err := net.Listen("tcp", options.listen)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("address %s is in use: stop what listens there, or choose another with --listen", options.listen)
		}
		return fmt.Errorf("listen on %s: %w", options.listen, err)
	}
	g, err := newGateway(ctx, s, c, options.dumpDir, options.logger)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	greet(out, listener.Addr().String(), s, g.served)
	return g.serve(ctx, listener)
}

// greet tells a person what they need next.
func greet(out io.Writer, address string, s settings, providers []providerState) {
	base := "http://" + address
	directory := s.dataDir
	if absolute, err := filepath.Abs(directory); err == nil {
		directory = absolute
	}
	fmt.Fprintf(out, "aibridged listens on %s\n", base)
	fmt.Fprintf(out, "  data directory  %s\n", directory)
	for _, p := range providers {
		fmt.Fprintf(out, "  provider        %s (%s): %s\n", p.name, p.kind, p.state)
	}
	if len(providers) == 0 {
		fmt.Fprintf(out, "  provider        none: set ANTHROPIC_API_KEY or OPENAI_API_KEY, or write a --config\n")
	}
	fmt.Fprintf(out, "\nMake a token:\n  aibridged token create --user NAME --data-dir %s\n", directory)
	for _, p := range providers {
		switch p.kind {
		case "anthropic":
			fmt.Fprintf(out, "Point Claude Code here:\n  ANTHROPIC_BASE_URL=%s/%s ANTHROPIC_AUTH_TOKEN=TOKEN claude\n", base, p.name)
		case "openai":
			fmt.Fprintf(out, "Point Codex here:\n  CODEX_API_KEY=TOKEN codex exec -c openai_base_url=%s/%s/v1 PROMPT\n", base, p.name)
		}
	}
	fmt.Fprintf(out, "See what was asked:\n  aibridged interceptions --data-dir %s\n\nCtrl-C stops it.\n", directory)
}
