package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"cdr.dev/slog/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/internal/memory"
)

const defaultListen = "127.0.0.1:4001"

// leastRecordsLimit is the smallest limit that leaves room for the records of usual requests beside the reserve, which
// takes a quarter.
const leastRecordsLimit = 1 << 20

// leastMemory is the smallest bound on bodies that is of use: it lets requests of up to 2.6 MiB in.
const leastMemory = 16 << 20

func newServeCommand(s *settings) *cobra.Command {
	var options serveOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway, with its control plane in the same process",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(s.configFile)
			if err != nil {
				return err
			}
			options.merge(c, cmd.Flags().Changed)
			if err := errors.Join(options.check(), checkKeepRecords(options.keepRecords, options.observers)); err != nil {
				return err
			}
			return options.log.use(cmd.ErrOrStderr(), func(logger slog.Logger, metrics []prometheus.Collector) error {
				options.logger, options.metrics = logger, metrics
				return serve(cmd.Context(), cmd.OutOrStdout(), *s, c, options)
			})
		},
	}
	options.addFlags(cmd)
	addPlaneFlags(cmd, &options.planeOptions)
	cmd.Flags().BoolVar(&options.noConsole, "no-console", false, "serve no page at /console/")
	return cmd
}

// addPlaneFlags adds the flags of what has the database.
func addPlaneFlags(cmd *cobra.Command, options *planeOptions) {
	flags := cmd.Flags()
	flags.DurationVar(&options.keepRecords, "keep-records", 0, "how long records are kept, for example 2160h; 0 means for ever")
	flags.BoolVar(&options.newDatabase, "new-database", false, "make a new database where that of an earlier gateway is missing; its tokens, users and records are lost")
}

// serveOptions are the settings of a gateway that listens.
type serveOptions struct {
	gatewayOptions

	listen string
	log    logOptions
}

// addFlags adds the flags of every gateway.
func (o *serveOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.listen, "listen", defaultListen, "address to listen on, or unix:PATH for a socket")
	addAdminFlags(cmd, &o.adminListen, &o.adminHosts)
	o.drain.addFlags(cmd)
	flags.IntVar(&o.maxConnections, "max-connections", 0, "how many connections clients may have; 0 means half of the descriptors of the process, 16384 at most")
	o.log.addFlags(cmd)
	records := &o.records
	flags.StringVar((*string)(&records.Durability), "durability", string(aibridged.DurabilitySync),
		"what records survive before the database has them: sync (a crash of the machine), kernel (a crash of the gateway; of the machine after 100 ms) or memory (nothing)")
	flags.Int64Var(&records.MaxBytes, "records-limit", 0, "how many `bytes` of records may wait for the database; 0 means 1 GiB, or 64 MiB with --durability memory")
	flags.StringVar((*string)(&records.WhenFull), "records-when-full", string(aibridged.WhenFullRefuse),
		"what to do when --records-limit is reached: refuse requests, or go-on without records")
	flags.Int64Var(&o.memory, "memory", 0, "how many `bytes` the bodies of requests and answers may take together; 0 means a quarter of what the process may use")
	flags.BoolVar(&o.digests, "digests", false, "record the SHA-256 of request and answer, as --keep-exchanges does")
	observers := &o.observers
	flags.StringVar(&observers.dumpDir, "dump-dir", "", "write every upstream request and response to this directory, credentials redacted")
	flags.StringVar(&observers.keepDir, "keep-exchanges", "", "keep the bytes that records are made from in `DIR`, where verify finds them")
	flags.DurationVar(&observers.keepFor, "keep-exchanges-for", 7*24*time.Hour, "how long the bytes of --keep-exchanges are kept")
}

func addAdminFlags(cmd *cobra.Command, listen *string, hosts *[]string) {
	cmd.Flags().StringVar(listen, "admin-listen", defaultAdminListen, "address for operators: /metrics, /debug/pprof/, /healthz and /readyz, without a token; off for none")
	cmd.Flags().StringSliceVar(hosts, "admin-hosts", nil, "further host `names` by which operators reach --admin-listen, beside localhost and its addresses")
}

// check refuses what cannot be.
func (o *serveOptions) check() error {
	if err := o.drain.check(); err != nil {
		return err
	}
	switch records, memory := o.records.MaxBytes, o.memory; {
	case o.maxConnections < 0:
		return fmt.Errorf("--max-connections is %d: it must not be negative; 0 means the default", o.maxConnections)
	case o.observers.keepFor <= 0:
		return fmt.Errorf("--keep-exchanges-for must be above zero")
	case records != 0 && records < leastRecordsLimit:
		return fmt.Errorf("--records-limit is %d bytes: it must be 0, which is the default, or at least %d", records, leastRecordsLimit)
	case memory != 0 && memory < leastMemory:
		return fmt.Errorf("--memory is %d bytes: it must be 0, which is the default, or at least %d", memory, leastMemory)
	}
	return nil
}

// merge takes from a configuration what no flag has set.
func (o *serveOptions) merge(c config, isSet func(flag string) bool) {
	if !isSet("listen") && c.Listen != "" {
		o.listen = c.Listen
	}
	if !isSet("admin-listen") && c.AdminListen != "" {
		o.adminListen = c.AdminListen
	}
	if !isSet("admin-hosts") {
		o.adminHosts = c.AdminHosts
	}
	if !isSet("no-console") && c.Console != nil {
		o.noConsole = !*c.Console
	}
	if !isSet("max-connections") {
		o.maxConnections = c.MaxConnections
	}
}

// logOptions say how the program's log is written.
type logOptions struct {
	verbose bool
	format  string
}

func (o *logOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.verbose, "verbose", false, "log debug messages too")
	cmd.Flags().StringVar(&o.format, "log-format", "", "log as text, for people, or as json, one object a line (default: text on a terminal, json elsewhere)")
}

// use opens the log for as long as run runs.
func (o *logOptions) use(out io.Writer, run func(slog.Logger, []prometheus.Collector) error) error {
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	log, err := newProgramLog(out, o.format)
	if err != nil {
		return err
	}
	defer log.close()
	// Otherwise a write to a pipe without a reader would end the gateway.
	signal.Ignore(syscall.SIGPIPE)
	return run(log.logger(level), []prometheus.Collector{log.metric()})
}

// limitMemory tells the garbage collector how much memory there is, unless GOMEMLIMIT says so: three quarters of what the
// process may use, less 32 MiB. The rest is for what is not the collector's: SQLite's, most of all.
func limitMemory() {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		available := memory.Available()
		debug.SetMemoryLimit(available/4*3 - min(available/8, 32<<20))
	}
}

// serve runs a gateway and its control plane.
func serve(ctx context.Context, out io.Writer, s settings, c config, options serveOptions) error {
	return options.run(ctx, out, s, c, func(options gatewayOptions) (*gateway, error) {
		return newGateway(ctx, s, c, options)
	}, func(out io.Writer, at addresses, providers []providerState) { greet(out, at, s, providers) })
}

// run listens, builds a gateway, says so with greet, and serves until ctx ends.
func (o serveOptions) run(
	ctx context.Context, out io.Writer, s settings, c config, build func(gatewayOptions) (*gateway, error), greet func(io.Writer, addresses, []providerState),
) error {
	collectSeldom()
	if o.memory == 0 {
		o.memory = memory.Available() / 4
	}
	limitMemory()
	signals := hangUpSignals()
	defer signal.Stop(signals)
	// The ports come first: a gateway that cannot listen should not open its database.
	api, err := listenForClients(o.listen, c.ListenMode)
	if err != nil {
		return err
	}
	operators, err := listenForOperators(o.adminListen)
	if err != nil {
		return errors.Join(err, api.Close())
	}
	at := addresses{api: baseOf(api, c.TLS != nil), hasConsole: !o.noConsole}
	if operators != nil {
		at.operators = operators.Addr().String()
	}
	lent := []net.Listener{operators}
	if c.TLS == nil { // A client that speaks TLS waits until the gateway does.
		lent = append(lent, api)
	}
	early := answerStarting(lent...)
	g, err := build(o.gatewayOptions)
	if failed := early.end(); failed != nil {
		if g != nil {
			failed = errors.Join(failed, g.close(ctx))
		}
		g, err = nil, errors.Join(err, failed)
	}
	if err != nil {
		return errors.Join(err, closeAll(api, operators))
	}
	// A standard output that nobody reads must not keep the gateway from serving.
	printed := newLineBuffer(out, lineBufferOptions{})
	defer printed.close()
	greet(printed, at, g.providers.current())
	if err := g.publishAdmin(s, at.operators); err != nil {
		o.logger.Warn(ctx, "provider list will not find this gateway", slog.Error(err))
	}
	hangUps := startHangUps(ctx, signals, s.configFile, c, g.control.reseed, o.logger)
	defer hangUps.close()
	return g.serve(ctx, api, operators)
}

// collectSeldom tells the garbage collector to run less often, unless GOGC says how often: a gateway's heap is small and
// nearly all of it soon garbage, so this costs some megabytes and saves a tenth of the CPU time.
func collectSeldom() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// closeAll closes listeners. Nil ones are none.
func closeAll(listeners ...net.Listener) (err error) {
	for _, listener := range listeners {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
	}
	return err
}

// listenOn listens on an address. InUse says what to do if it is in use.
func listenOn(address, inUse string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf(inUse, address)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}

// listenForOperators returns nil if there is to be no listener for operators.
func listenForOperators(address string) (net.Listener, error) {
	if address == adminOff {
		return nil, nil
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("--admin-listen %q: write an address with a port, or %s", address, adminOff)
	}
	return listenOn(address, "admin address %s is in use, perhaps by another gateway: choose another with --admin-listen, or "+adminOff+" for none")
}

// addresses are where a gateway listens.
type addresses struct {
	api       string // What stands before a path, or the path of a socket.
	operators string // Empty: nowhere.

	hasConsole bool
}

// greet prints what a person needs to use the gateway.
func greet(out io.Writer, at addresses, s settings, providers []providerState) {
	base := at.api
	directory := s.dataDir
	if absolute, err := filepath.Abs(directory); err == nil {
		directory = absolute
	}
	fmt.Fprintf(out, "aibridged listens on %s\n", base)
	isSocket := strings.HasPrefix(base, unixPrefix) // No client can be pointed there: a proxy is between.
	if at.operators != "" {
		fmt.Fprintf(out, "  for operators   http://%s (/metrics, /debug/pprof/)\n", at.operators)
	}
	fmt.Fprintf(out, "  data directory  %s\n", directory)
	data := "--data-dir " + directory
	if s.postgres != "" {
		fmt.Fprintf(out, "  database        %s\n", s.place())
		data = `--database "$` + databaseVariable + `"`
	}
	if at.hasConsole && !isSocket {
		fmt.Fprintf(out, "  page            %s%s (sign in with a token)\n", base, consolePath)
	}
	for _, p := range providers {
		fmt.Fprintf(out, "  provider        %s (%s): %s\n", p.name, p.kind, p.state)
	}
	if len(providers) == 0 {
		fmt.Fprintf(out, "  provider        none: set ANTHROPIC_API_KEY or OPENAI_API_KEY, or write a --config\n")
	}
	fmt.Fprintf(out, "\nMake a token:\n  aibridged token create --user NAME %s\n", data)
	if isSocket {
		providers = nil
	}
	for _, p := range providers {
		switch p.kind {
		case "anthropic", "bedrock", "vertex":
			fmt.Fprintf(out, "Point Claude Code here:\n  ANTHROPIC_BASE_URL=%s/%s ANTHROPIC_AUTH_TOKEN=TOKEN claude\n", base, p.name)
		case "openai":
			fmt.Fprintf(out, "Point Codex here:\n  CODEX_API_KEY=TOKEN codex exec -c openai_base_url=%s/%s/v1 PROMPT\n", base, p.name)
		}
	}
	fmt.Fprintf(out, "See what was asked:\n  aibridged interceptions %s\n\nCtrl-C stops it.\n", data)
}
