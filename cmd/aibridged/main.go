// Command aibridged is the gateway as a program: the library and a control plane over SQLite or PostgreSQL, in one process or
// in several, with commands to try it, to run it and to inspect its records. `aibridged --help` lists them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	// The first signal asks for an orderly end. It removes the handler, so that a second signal ends the process at
	// once. SIGHUP does not: where a terminal goes away, it may come from the shell and from the system.
	context.AfterFunc(ctx, func() {
		signal.Ignore(syscall.SIGHUP)
		stop()
	})
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		// The buffer keeps a standard error that hangs from keeping the process alive.
		last := newLineBuffer(os.Stderr, lineBufferOptions{})
		fmt.Fprintln(last, "aibridged:", err)
		last.close()
		os.Exit(1)
	}
}

// endSignals are the signals that ask for an orderly end. SIGHUP is one of them where it says that the terminal goes away,
// unless the program was started under nohup. Without a terminal, it asks serve to read its configuration again.
func endSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if hasTerminal() && !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// settings are the flags of every command.
type settings struct {
	dataDir    string
	configFile string
	postgres   string // The address of a PostgreSQL database. Empty: the database is a file in the data directory.
}

// database is the path of the control plane's database, if that is a file.
func (s settings) database() string { return filepath.Join(s.dataDir, "aibridged.db") }

// records is the directory of the records that the database does not have yet.
func (s settings) records() string { return filepath.Join(s.dataDir, "records") }

// existing returns an error that says what to do if serve has never used the data directory.
func (s settings) existing() error {
	if s.postgres != "" {
		return nil // Other gateways may have used it.
	}
	_, err := os.Stat(s.database())
	if errors.Is(err, os.ErrNotExist) {
		if trace, err := s.trace(); err == nil && trace != "" {
			return nil // What opens the database says that it is missing.
		}
		return fmt.Errorf("no gateway has used the data directory %s yet: start `aibridged serve` or `aibridged control` there, or name another with --data-dir", s.dataDir)
	}
	return err
}

func newCommand() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:           "aibridged",
		Short:         "An AI gateway: relays traffic unchanged and records what was asked, answered and called",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          showHelp, // Without it, cobra would accept an unknown command.
	}
	root.PersistentFlags().StringVar(&s.dataDir, "data-dir", "./aibridged-data", "directory of the gateway's database")
	root.PersistentFlags().StringVar(&s.configFile, "config", "", "configuration file, in YAML")
	addDatabaseFlag(root, &s)
	root.AddCommand(
		newServeCommand(&s), newControlCommand(&s), newGatewayCommand(&s), newTokenCommand(&s), newUserCommand(&s), newBudgetCommand(&s), newInterceptionsCommand(&s), newUsageCommand(&s),
		newSessionCommand(&s), newRepriceCommand(&s), newVerifyCommand(&s), newRecordsCommand(&s),
		newExportCommand(&s), newImportCommand(&s), newMCPCommand(&s),
		newProviderCommand(&s), newMCPServerCommand(&s), newSecretsCommand(&s), newFakeLLMCommand(), newDemoCommand(),
	)
	return root
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }
