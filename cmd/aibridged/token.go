package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
)

func newTokenCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke the tokens that clients send; works while serve runs",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newTokenCreateCommand(s), newTokenListCommand(s), newTokenRevokeCommand(s))
	return cmd
}

func newTokenCreateCommand(s *settings) *cobra.Command {
	var params aibridgedserver.TokenParams
	cmd := &cobra.Command{
		Use:   "create --user NAME",
		Short: "Make a token and print only the token",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStore(cmd.Context(), *s, func(store *store) error {
				token, _, err := store.CreateToken(cmd.Context(), params)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&params.Username, "user", "", "the token's owner")
	cmd.Flags().DurationVar(&params.Expires, "expires", 0, "how long the token lasts, for example 720h; 0 means until it is revoked")
	cmd.Flags().BoolVar(&params.Admin, "admin", false, "who signs in with it sees what others did; for clients it is like any other")
	_ = cmd.MarkFlagRequired("user") // The flag is defined above.
	return cmd
}

func newTokenListCommand(s *settings) *cobra.Command {
	return newListCommand(s, listing{
		short: "List the tokens, without their secrets",
		head:  []string{"ID", "USER", "CREATED", "EXPIRES", "STATE", "ADMIN"},
		rows: func(ctx context.Context, store *store) (rows [][]string, err error) {
			tokens, err := store.Tokens(ctx)
			for _, token := range tokens {
				expires := "never"
				if token.ExpiresAt != nil {
					expires = token.ExpiresAt.Local().Format(time.DateTime)
				}
				admin := "no"
				if token.Admin {
					admin = "yes"
				}
				rows = append(rows, []string{
					token.ID, token.Username, token.CreatedAt.Local().Format(time.DateTime), expires, tokenState(token, time.Now()), admin,
				})
			}
			return rows, err
		},
	})
}

func tokenState(token aibridgedserver.APIKey, now time.Time) string {
	switch {
	case token.RevokedAt != nil:
		return "revoked"
	case token.ExpiresAt != nil && !now.Before(*token.ExpiresAt):
		return "expired"
	}
	return "valid"
}

func newTokenRevokeCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Make a token invalid; a running gateway refuses it within 100 ms",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				err := store.RevokeToken(cmd.Context(), args[0])
				if errors.Is(err, aibridgedserver.ErrUnknownToken) {
					return fmt.Errorf("%w; `aibridged token list` shows the ids", err)
				}
				return err
			})
		},
	}
}
