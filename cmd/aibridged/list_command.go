package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// listing is a table of what the database has.
type listing struct {
	short string // Of the command that prints it.
	head  []string
	rows  func(context.Context, *store) ([][]string, error)
}

// newListCommand returns the command "list" of a table.
func newListCommand(s *settings, l listing) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: l.short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				rows, err := l.rows(cmd.Context(), store)
				if err != nil {
					return err
				}
				return printTable(cmd.OutOrStdout(), l.head, rows)
			})
		},
	}
}

func printTable(out io.Writer, head []string, rows [][]string) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(head, "\t"))
	for _, row := range rows {
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}
