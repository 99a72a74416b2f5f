package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/signal"
	"path/filepath"

	"cdr.dev/slog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
)

const (
	defaultControlListen = "127.0.0.1:4002"
	defaultConsoleListen = "127.0.0.1:4004"
)

// controlOptions are the settings of a control plane that runs alone.
type controlOptions struct {
	planeOptions

	listen        string // For gateways.
	consoleListen string // For people. Off: there is no page.
	adminListen   string
	adminHosts    []string
	drain         drainOptions
	log           logOptions
	logger        slog.Logger
	metrics       []prometheus.Collector
}

func newControlCommand(s *settings) *cobra.Command {
	var (
		options controlOptions
		flags   controlFlags
	)
	cmd := &cobra.Command{
		Use:   "control",
		Short: "Run the control plane alone, for gateways elsewhere",
		Long: `Run the control plane alone: users, tokens, providers, MCP servers and records, over SQLite or PostgreSQL,
for gateways that "aibridged gateway" runs elsewhere. Gateways reach it over TLS. They prove who they are
with a join token, which "aibridged control join-token" prints, or with a certificate of --gateway-ca.

Without --cert and --key it makes an authority and a certificate of its own, in the data directory. Join
tokens name that authority, so that gateways trust it and no other.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(s.configFile)
			if err != nil {
				return err
			}
			if c.Control, err = flags.over(c.Control); err != nil {
				return err
			}
			options.merge(c, cmd.Flags().Changed)
			if err := options.drain.check(); err != nil {
				return err
			}
			if err := checkKeepRecords(options.keepRecords, observerOptions{}); err != nil {
				return err
			}
			return options.log.use(cmd.ErrOrStderr(), func(logger slog.Logger, metrics []prometheus.Collector) error {
				options.logger, options.metrics = logger, metrics
				return runControl(cmd.Context(), cmd.OutOrStdout(), *s, c, options)
			})
		},
	}
	cmd.Flags().StringVar(&options.listen, "listen", defaultControlListen, "address to listen on for gateways")
	cmd.Flags().StringVar(&options.consoleListen, "console-listen", defaultConsoleListen, "address of the page for people, /console/; off for none")
	addAdminFlags(cmd, &options.adminListen, &options.adminHosts)
	options.drain.addFlags(cmd)
	addPlaneFlags(cmd, &options.planeOptions)
	options.log.addFlags(cmd)
	cmd.PersistentFlags().StringVar(&flags.ca, "gateway-ca", "", "`file` with the authorities of gateways' certificates, in PEM")
	cmd.PersistentFlags().StringVar(&flags.cert, "cert", "", "`file` with the control plane's certificate, in PEM, in place of one of its own making")
	cmd.PersistentFlags().StringVar(&flags.key, "key", "", "`file` with its key")
	cmd.AddCommand(newJoinTokenCommand(s, &flags))
	return cmd
}

// merge takes from a configuration what no flag has set.
func (o *controlOptions) merge(c config, isSet func(flag string) bool) {
	if !isSet("listen") && c.Control.Listen != "" {
		o.listen = c.Control.Listen
	}
	if !isSet("admin-listen") && c.AdminListen != "" {
		o.adminListen = c.AdminListen
	}
	if !isSet("admin-hosts") {
		o.adminHosts = c.AdminHosts
	}
	if !isSet("console-listen") && c.Console != nil && !*c.Console {
		o.consoleListen = adminOff
	}
}

// runControl runs a control plane until ctx ends.
func runControl(ctx context.Context, out io.Writer, s settings, c config, options controlOptions) error {
	collectSeldom()
	limitMemory()
	signals := hangUpSignals()
	defer signal.Stop(signals)
	// The ports come first, as those of a gateway do. Gateways wait until they are served.
	at, err := listenForControl(options)
	if err != nil {
		return err
	}
	early := answerStarting(at.operators)
	p, err := newControl(ctx, s, c, options)
	if failed := early.end(); failed != nil {
		if p != nil {
			failed = errors.Join(failed, p.close())
		}
		p, err = nil, errors.Join(err, failed)
	}
	if err != nil {
		return errors.Join(err, at.close())
	}
	printed := newLineBuffer(out, lineBufferOptions{})
	defer printed.close()
	greetControl(printed, at, s, c)
	hangUps := startHangUps(ctx, signals, s.configFile, c, p.seed, options.logger)
	defer hangUps.close()
	return p.serve(ctx, at)
}

// controlListeners are where a control plane listens. The last two may be nil.
type controlListeners struct {
	gateways, operators, people net.Listener
}

func listenForControl(options controlOptions) (at controlListeners, err error) {
	if at.gateways, err = listenOn(options.listen, "address %s is in use: stop what listens there, or choose another with --listen"); err != nil {
		return at, err
	}
	if at.operators, err = listenForOperators(options.adminListen); err != nil {
		return at, errors.Join(err, at.close())
	}
	if options.consoleListen == adminOff {
		return at, nil
	}
	at.people, err = listenOn(options.consoleListen, "address %s is in use: choose another with --console-listen, or "+adminOff+" for no page")
	if err != nil {
		return at, errors.Join(err, at.close())
	}
	return at, nil
}

func (at controlListeners) close() error { return closeAll(at.gateways, at.operators, at.people) }

// greetControl prints what a person needs to use the control plane.
func greetControl(out io.Writer, at controlListeners, s settings, c config) {
	directory := s.dataDir
	if absolute, err := filepath.Abs(directory); err == nil {
		directory = absolute
	}
	fmt.Fprintf(out, "aibridged control listens on %s for gateways\n", at.gateways.Addr())
	if at.operators != nil {
		fmt.Fprintf(out, "  for operators   http://%s (/metrics, /debug/pprof/)\n", at.operators.Addr())
	}
	if at.people != nil {
		fmt.Fprintf(out, "  page            %s%s (sign in with a token)\n", baseOf(at.people, c.TLS != nil), consolePath)
	}
	fmt.Fprintf(out, "  data directory  %s\n", directory)
	data := "--data-dir " + directory
	if s.postgres != "" {
		fmt.Fprintf(out, "  database        %s\n", s.place())
		data += ` --database "$` + databaseVariable + `"`
	}
	fmt.Fprintf(out, "\nLet a gateway in:\n  aibridged control join-token %s\n  %s=… aibridged gateway --control %s\n", data, joinTokenVariable, at.gateways.Addr())
	fmt.Fprintf(out, "Make a token for a user:\n  aibridged token create --user NAME %s\n\nCtrl-C stops it.\n", data)
}
