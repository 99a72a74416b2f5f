package main

import (
	"context"
	"os"

	"cdr.dev/slog/v3"
	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/postgres"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
)

// databaseVariable is the environment variable that names a PostgreSQL database where no flag does. Unlike a flag, others
// on the machine do not see it, and it may hold the password.
const databaseVariable = "AIBRIDGED_DATABASE_URL"

// addDatabaseFlag lets all commands below root use a PostgreSQL database.
func addDatabaseFlag(root *cobra.Command, s *settings) {
	root.PersistentFlags().StringVar(&s.postgres, "database", "",
		"`URL` of a PostgreSQL database, postgres://USER@HOST/NAME, in place of the file in the data directory; better set as "+databaseVariable+" if it has a password")
	root.PersistentPreRun = func(*cobra.Command, []string) {
		if s.postgres == "" {
			s.postgres = os.Getenv(databaseVariable)
		}
	}
}

// open opens the control plane's database and brings its tables up to date.
func (s settings) open(ctx context.Context, logger slog.Logger) (aibridgedserver.Database, error) {
	if s.postgres != "" {
		return postgres.Open(ctx, s.postgres, postgres.Options{Logger: logger})
	}
	return sqlite.Open(ctx, s.database())
}

// isEmpty reports whether the database has no tables yet.
func (s settings) isEmpty(ctx context.Context) (bool, error) {
	if s.postgres != "" {
		return postgres.IsEmpty(ctx, s.postgres)
	}
	return sqlite.IsEmpty(ctx, s.database())
}

// place names the database for people, without a password.
func (s settings) place() string {
	if s.postgres != "" {
		return postgres.Describe(s.postgres)
	}
	return s.database()
}
