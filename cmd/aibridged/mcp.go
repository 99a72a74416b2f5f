package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
)

func newMCPCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mcp",
		Short: "Try MCP servers, and manage users' own tokens for them; works while serve runs",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	tokens := &cobra.Command{
		Use:   "token",
		Short: "Set, list and remove users' own tokens for MCP servers",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	tokens.AddCommand(newMCPTokenSetCommand(s), newMCPTokenListCommand(s), newMCPTokenRemoveCommand(s))
	cmd.AddCommand(newMCPListCommand(s), tokens)
	return cmd
}

// mcpTokenFlags name whose token for which server a command is about.
type mcpTokenFlags struct {
	user, server string
}

func (f *mcpTokenFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.user, "user", "", "the user's name, as in token create")
	cmd.Flags().StringVar(&f.server, "server", "", "the server's id, as in the configuration")
	_ = cmd.MarkFlagRequired("user") // Both flags are defined above.
	_ = cmd.MarkFlagRequired("server")
}

func newMCPTokenSetCommand(s *settings) *cobra.Command {
	var (
		flags      mcpTokenFlags
		from, file string
	)
	cmd := &cobra.Command{
		Use:   "set --user NAME --server ID",
		Short: "Give a user a token of their own, from standard input, in place of the server's token for all",
		Long: `Give a user a token of their own for an MCP server, in place of the server's token for all.
The token comes from standard input, or from --token-file, or from --token-from; it is never
an argument, which other users of the machine could read.

A gateway that runs takes the new token within a second, for requests that begin then.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			if file != "" {
				from = "file:" + file
			}
			token, err := readMCPToken(cmd.InOrStdin(), from)
			if err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				return adviseMCP(store.SetMCPToken(cmd.Context(), flags.user, flags.server, token))
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&file, "token-file", "", "read the token from this `file`")
	cmd.Flags().StringVar(&from, "token-from", "", "read the token from where this `reference` says: ${NAME_OF_A_VARIABLE} or file:/path")
	cmd.MarkFlagsMutuallyExclusive("token-file", "token-from")
	return cmd
}

// readMCPToken reads a token from where a reference says, or from in if that is empty.
func readMCPToken(in io.Reader, from string) (string, error) {
	if from != "" {
		token, err := mcpToken(from)
		if errors.Is(err, errNoReference) {
			err = fmt.Errorf("--token-from: %w", err)
		}
		return token, err
	}
	return stdinSecret(in, "token", "--token-file")
}

// stdinSecret reads a secret from standard input. Instead names a flag with which it need not be typed. The argument kind is
// what errors call the secret.
func stdinSecret(in io.Reader, kind, instead string) (string, error) {
	if file, ok := in.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprintf(os.Stderr, "Type or paste the %s, then Enter and Ctrl-D. It is shown while you type; %s avoids that.\n", kind, instead)
		}
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSecret))
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", kind, err)
	}
	return trimSecret(string(data), kind, "standard input", ": pipe the "+kind+" in, or use "+instead)
}

// adviseMCP adds to an error what to do.
func adviseMCP(err error) error {
	switch {
	case errors.Is(err, aibridgedserver.ErrUnknownUser):
		return fmt.Errorf("%w; `aibridged token create` makes one", err)
	case errors.Is(err, aibridgedserver.ErrUnknownMCPServer):
		return fmt.Errorf("%w; `aibridged mcp list` shows them, and `aibridged mcp-server add` makes one", err)
	}
	return err
}

func newMCPTokenListCommand(s *settings) *cobra.Command {
	return newListCommand(s, listing{
		short: "List the users' own tokens, without the tokens",
		head:  []string{"USER", "SERVER", "SET", "STATE"},
		rows: func(ctx context.Context, store *store) (rows [][]string, err error) {
			tokens, err := store.MCPTokens(ctx)
			for _, token := range tokens {
				state := "in use"
				if !token.Used {
					state = "not used: the server is not configured, or not for this user"
				}
				rows = append(rows, []string{token.Username, token.ServerID, token.SetAt.Local().Format(time.DateTime), state})
			}
			return rows, err
		},
	})
}

func newMCPTokenRemoveCommand(s *settings) *cobra.Command {
	var flags mcpTokenFlags
	cmd := &cobra.Command{
		Use:   "remove --user NAME --server ID",
		Short: "Delete a user's own token; requests that begin a second later go without it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				return removeMCPToken(cmd.Context(), store, flags)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func removeMCPToken(ctx context.Context, store *store, flags mcpTokenFlags) error {
	removed, err := store.RemoveMCPToken(ctx, flags.user, flags.server)
	if err == nil && !removed {
		err = fmt.Errorf("%q has no token of their own for MCP server %q; `aibridged mcp token list` shows those that are there", flags.user, flags.server)
	}
	return err
}
