package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

func newRepriceCommand(s *settings) *cobra.Command {
	var since string
	cmd := &cobra.Command{
		Use:   "reprice",
		Short: "Compute costs anew, after prices have changed for the past; works while serve runs",
		Long: `reprice computes the costs of all records anew, by the prices that it knows: those of its embedded table, and those of
prices: in the configuration of serve when it last started, or in the file that --config names. Of records that are deleted,
the costs stay as they are. If it is interrupted, serve or the next command goes on, with the prices that it knows.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var from time.Time
			if since != "" {
				var err error
				if from, err = parseMoment(since, time.Now()); err != nil {
					return fmt.Errorf("--since: %w", err)
				}
			}
			return withReports(cmd, *s, func(ctx context.Context, _ *store, of *reports.Reports) error {
				bar := newProgress(cmd.ErrOrStderr(), "computing costs")
				repriced, err := of.Reprice(ctx, from, bar.set)
				bar.end()
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "the costs of %s are computed anew\n", counted(int(repriced), "interception"))
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&since, "since", "", "only of what began at this `TIME` or later: a date, a time or an age; empty means all")
	return cmd
}
