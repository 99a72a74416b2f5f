package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"cdr.dev/slog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

func newGatewayCommand(s *settings) *cobra.Command {
	var (
		options serveOptions
		flags   controlFlags
	)
	cmd := &cobra.Command{
		Use:   "gateway --control HOST:PORT",
		Short: "Run a gateway without a database, whose control plane is elsewhere",
		Long: `Run a gateway without a database. It asks a control plane, which "aibridged control" runs, who tokens
belong to, which providers and MCP servers there are, and hands it its records, which wait in the data
directory until they are stored. It proves who it is with a join token, which "aibridged control
join-token" prints, or with a certificate.

While the control plane has never answered, and while it is away, /readyz is 503 and says why.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(s.configFile)
			if err != nil {
				return err
			}
			options.merge(c, cmd.Flags().Changed)
			at, err := flags.over(c.Control)
			if err != nil {
				return err
			}
			if err := options.check(); err != nil {
				return err
			}
			options.noConsole = true // It needs the records.
			return options.log.use(cmd.ErrOrStderr(), func(logger slog.Logger, metrics []prometheus.Collector) error {
				options.logger, options.metrics = logger, metrics
				return gatewayApart(cmd.Context(), cmd.OutOrStdout(), *s, c, at, options)
			})
		},
	}
	options.addFlags(cmd)
	cmd.Flags().StringVar(&flags.address, "control", "", "`HOST:PORT` of the control plane")
	cmd.Flags().StringVar(&flags.joinToken, "join-token", "", "where the join token is: ${NAME_OF_A_VARIABLE} or file:/path/to/a/file; better than "+joinTokenVariable+" if it changes")
	cmd.Flags().StringVar(&flags.ca, "control-ca", "", "`file` with the authorities of the control plane's certificate, in PEM, in place of what the join token says")
	cmd.Flags().StringVar(&flags.cert, "control-cert", "", "`file` with a certificate of this gateway, in place of a join token")
	cmd.Flags().StringVar(&flags.key, "control-key", "", "`file` with its key")
	return cmd
}

// gatewayApart runs a gateway whose control plane is elsewhere.
func gatewayApart(ctx context.Context, out io.Writer, s settings, c config, control controlConfig, options serveOptions) error {
	return options.run(ctx, out, s, c, func(options gatewayOptions) (*gateway, error) {
		return newGatewayApart(ctx, s, c, control, options)
	}, func(out io.Writer, at addresses, _ []providerState) { greetApart(out, at, s, control.Address) })
}

// greetApart prints what a person needs to use the gateway.
func greetApart(out io.Writer, at addresses, s settings, control string) {
	directory := s.dataDir
	if absolute, err := filepath.Abs(directory); err == nil {
		directory = absolute
	}
	fmt.Fprintf(out, "aibridged listens on %s\n", at.api)
	if at.operators != "" {
		fmt.Fprintf(out, "  for operators   http://%s (/metrics, /debug/pprof/)\n", at.operators)
	}
	fmt.Fprintf(out, "  control plane   %s\n", control)
	fmt.Fprintf(out, "  data directory  %s (records wait there)\n", directory)
	fmt.Fprintf(out, "\nMake tokens where the control plane runs. Limits of requests (admission) are of this gateway alone; those of the control plane are for all gateways.\n\nCtrl-C stops it.\n")
}
