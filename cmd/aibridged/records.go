package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/internal/outbox"
)

func newRecordsCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "records",
		Short: "Send refused records again, and delete old ones",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newRecordsResendCommand(s), newRecordsPruneCommand(s))
	return cmd
}

func newRecordsResendCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "resend",
		Short: "Send records again that the database refused; works while serve runs",
		Long: `A record that the database refuses for good is set aside, so that it does not hold up others: the log says why, and
the metric aibridged_records_dead counts such records. Once the reason is gone, resend puts them back. A running gateway
delivers them within seconds; if none runs, the next one that starts does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			moved, err := outbox.Resend(s.records())
			if errors.Is(err, os.ErrNotExist) {
				err = nil // No record was ever set aside.
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s will be sent again\n", counted(moved, "record"))
			return nil
		},
	}
}

func newRecordsPruneCommand(s *settings) *cobra.Command {
	var before string
	cmd := &cobra.Command{
		Use:   "prune --before TIME",
		Short: "Delete old records for good; works while serve runs",
		Long: `prune deletes the interceptions that started before a time, with all that was recorded of them. The time is a
date (2026-01-02, in the local time zone), a time (2026-01-02T15:04:05Z) or an age (30d or 720h). The database file does not
become smaller: new records use the space that becomes free in it.

It works in small steps, between which others can write. If it is interrupted, what it has deleted stays deleted. serve
--keep-records does the same every hour.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			limit, err := parseBefore(before, time.Now())
			if err != nil {
				return err
			}
			return withReports(cmd, *s, func(ctx context.Context, store *store, of *reports.Reports) error {
				bar := newProgress(cmd.ErrOrStderr(), "deleting")
				deleted, err := store.PruneWith(ctx, limit, func(deleted int64) { bar.set(deleted, 0) })
				bar.end()
				fmt.Fprintf(cmd.OutOrStdout(), "%s deleted\n", counted(int(deleted), "interception"))
				_, undigested := of.Digest(ctx, reports.DigestOptions{}) // The titles of sessions and the search have texts, too.
				return errors.Join(err, undigested)
			})
		},
	}
	cmd.Flags().StringVar(&before, "before", "", "delete what started before this `TIME`: a date, a time or an age")
	_ = cmd.MarkFlagRequired("before") // The flag is defined above.
	return cmd
}

// parseBefore returns the time that a date, a time or an age stands for. It refuses a time in the future, which would
// delete all records.
func parseBefore(text string, now time.Time) (time.Time, error) {
	before, err := parseMoment(text, now)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("--before: %w", err)
	case before.After(now):
		return time.Time{}, fmt.Errorf("--before is %q, which is still to come", text)
	}
	return before, nil
}
