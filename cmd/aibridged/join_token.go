package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/controlplane/join"
)

func newJoinTokenCommand(s *settings, flags *controlFlags) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "join-token",
		Short: "Make a join token and print only that; works while control runs",
		Long: `Make a join token: all that a gateway needs to prove who it is, and whom to take for its control plane. It is
a secret: with it, one gets the providers' keys. One token may be for many gateways; one for each can be
revoked alone. If the control plane has a certificate from files, give the same --cert and --key, or --config, here.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := s.newJoinToken(*flags)
			if err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				if err := store.AddJoinToken(cmd.Context(), token.ID, token.Secret, name); err != nil {
					return err
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), token.Text())
				return err
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "what the list calls it, for example the gateway that gets it")
	cmd.AddCommand(newJoinTokenListCommand(s), newJoinTokenRevokeCommand(s))
	return cmd
}

// newJoinToken returns a token for the control plane of a data directory. It is not stored yet.
func (s settings) newJoinToken(flags controlFlags) (join.Token, error) {
	c, err := loadConfig(s.configFile)
	if err != nil {
		return join.Token{}, err
	}
	if c.Control, err = flags.over(c.Control); err != nil {
		return join.Token{}, err
	}
	if c.Control.TLS != nil { // Its certificate changes, and its authority has others, too.
		return join.NewToken(nil), nil
	}
	own, err := openAuthority(s)
	if err != nil {
		return join.Token{}, err
	}
	return join.NewToken(own.certificate), nil
}

func newJoinTokenListCommand(s *settings) *cobra.Command {
	return newListCommand(s, listing{
		short: "List the join tokens, without their secrets",
		head:  []string{"ID", "NAME", "CREATED", "STATE"},
		rows: func(ctx context.Context, store *store) (rows [][]string, err error) {
			tokens, err := store.JoinTokens(ctx)
			for _, token := range tokens {
				state := "valid"
				if token.RevokedAt != nil {
					state = "revoked"
				}
				rows = append(rows, []string{token.ID, shown(token.Name, 64), token.CreatedAt.Local().Format(time.DateTime), state})
			}
			return rows, err
		},
	})
}

func newJoinTokenRevokeCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke ID",
		Short: "Make a join token invalid; gateways that have used it are disconnected within a second",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				err := store.RevokeJoinToken(cmd.Context(), args[0])
				if errors.Is(err, aibridgedserver.ErrUnknownJoinToken) {
					return fmt.Errorf("%w; `aibridged control join-token list` shows the ids", err)
				}
				return err
			})
		},
	}
}
