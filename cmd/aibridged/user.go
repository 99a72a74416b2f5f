package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
)

func newUserCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Say which groups users belong to", Args: cobra.NoArgs, RunE: showHelp}
	group := &cobra.Command{Use: "group", Short: "Set and list the groups of users; works while serve runs", Args: cobra.NoArgs, RunE: showHelp}
	group.AddCommand(newGroupSetCommand(s), newGroupListCommand(s))
	cmd.AddCommand(group)
	return cmd
}

func newGroupSetCommand(s *settings) *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "set USER [GROUP…]",
		Short: "Make a user belong to these groups, and to no others, from a time on",
		Long: `set makes a user belong to the groups that are named, and to no others, from a time on. Without groups, the user belongs
to none. What was before that time stays: costs stay with the groups that the user belonged to when they arose. The time is
taken down to a quarter of an hour.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			at := time.Now()
			if from != "" {
				var err error
				if at, err = parseMoment(from, at); err != nil {
					return fmt.Errorf("--from: %w", err)
				}
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				err := store.SetUserGroups(cmd.Context(), args[0], args[1:], at)
				if errors.Is(err, aibridgedserver.ErrUnknownUser) {
					return fmt.Errorf("%w; `aibridged token list` shows the users", err)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "from this `TIME` on: a date, a time or an age; empty means now")
	return cmd
}

func newGroupListCommand(s *settings) *cobra.Command {
	return newListCommand(s, listing{
		short: "List who belongs and belonged to which groups",
		head:  []string{"USER", "GROUP", "FROM", "UNTIL"},
		rows: func(ctx context.Context, store *store) (rows [][]string, err error) {
			memberships, err := store.Memberships(ctx)
			for _, m := range memberships {
				until := "-"
				if m.Until != nil {
					until = m.Until.Local().Format(time.DateTime)
				}
				rows = append(rows, []string{shown(m.Username, 40), shown(m.Group, 40), m.From.Local().Format(time.DateTime), until})
			}
			return rows, err
		},
	})
}
