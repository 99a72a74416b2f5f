package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/internal/outbox"
)

func newRecordsCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "records",
		Short: "Look after the records that the database does not have",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newRecordsResendCommand(s))
	return cmd
}

func newRecordsResendCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "resend",
		Short: "Send the records again that the database refused; works while serve runs",
		Long: `A record that the database refuses for good is set aside, so that it holds up no other: the log says why, and
the metric aibridged_records_dead counts them. Once the reason is gone, resend puts them back. A gateway that runs
delivers them within seconds, and the next one that starts does otherwise.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			moved, err := outbox.Resend(s.records())
			if errors.Is(err, os.ErrNotExist) {
				err = nil // There were never any.
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s will be sent again\n", counted(moved, "record"))
			return nil
		},
	}
}
