package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
)

func newMCPServerCommand(s *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mcp-server",
		Short: "List, add and change MCP servers; a gateway that runs takes changes within a second",
		Args:  cobra.NoArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(
		newMCPServerListCommand(s), newMCPServerAddCommand(s), newMCPServerSetCommand(s),
		newMCPServerSwitchCommand(s, "enable", "Use an MCP server that is disabled", false),
		newMCPServerSwitchCommand(s, "disable", "Leave an MCP server alone; users' tokens for it stay", true),
		newMCPServerRemoveCommand(s),
	)
	return cmd
}

// mcpServerFlags are the settings of an MCP server as flags.
type mcpServerFlags struct {
	url, token, allow, deny string
	users                   []string
	everyone                bool
}

func (f *mcpServerFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.url, "url", "", "the server's address")
	flags.StringVar(&f.token, "token", "", "the token of users who have none of their own, as `REF`; empty for none")
	flags.StringVar(&f.allow, "tool-allow-regex", "", "use only the tools whose names match this `expression`")
	flags.StringVar(&f.deny, "tool-deny-regex", "", "leave out the tools whose names match this `expression`")
	flags.StringArrayVar(&f.users, "user", nil, "only for this user, and others who are named so")
	flags.BoolVar(&f.everyone, "everyone", false, "for everyone, which is the default")
	cmd.MarkFlagsMutuallyExclusive("user", "everyone")
}

// apply changes m by the flags that are set.
func (f *mcpServerFlags) apply(cmd *cobra.Command, m *aibridgedserver.StoredMCPServer) error {
	isSet := cmd.Flags().Changed
	if isSet("url") {
		m.URL = f.url
	}
	if isSet("tool-allow-regex") {
		m.ToolAllowRegex = f.allow
	}
	if isSet("tool-deny-regex") {
		m.ToolDenyRegex = f.deny
	}
	if isSet("user") || isSet("everyone") {
		m.Everyone, m.Users = len(f.users) == 0, f.users
	}
	if isSet("token") {
		if err := f.applyToken(cmd.InOrStdin(), m); err != nil {
			return err
		}
	}
	return m.Check()
}

func (f *mcpServerFlags) applyToken(in io.Reader, m *aibridgedserver.StoredMCPServer) (err error) {
	switch {
	case f.token == "-":
		token, err := stdinSecret(in, "token", "--token file:/path")
		if err != nil {
			return err
		}
		m.TokenFrom = aibridgedserver.NewSecretReference()
		m.Secrets = map[string]string{m.TokenFrom: token}
		return nil
	case f.token != "" && !isReference(f.token):
		return fmt.Errorf("--token: %w, or - for standard input", errNoReference)
	}
	m.TokenFrom, err = absoluteReference(f.token)
	return err
}

func newMCPServerAddCommand(s *settings) *cobra.Command {
	var flags mcpServerFlags
	cmd := &cobra.Command{
		Use:   "add ID --url URL",
		Short: "Add an MCP server",
		Long:  "Add an MCP server, beside those of the configuration file.\n\n" + referencesHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m := aibridgedserver.StoredMCPServer{MCPServer: aibridgedserver.MCPServer{ID: args[0], Everyone: true}}
			if err := flags.apply(cmd, &m); err != nil {
				return fmt.Errorf("MCP server %q: %w", m.ID, err)
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				return adviseMCPServer(store.AddMCPServer(cmd.Context(), m))
			})
		},
	}
	flags.add(cmd)
	_ = cmd.MarkFlagRequired("url") // The flag is defined above.
	return cmd
}

func newMCPServerSetCommand(s *settings) *cobra.Command {
	var flags mcpServerFlags
	cmd := &cobra.Command{
		Use:   "set ID",
		Short: "Change settings of an MCP server; those that are not named stay",
		Long: `Change settings of an MCP server; those that are not named stay. A change of a server that the
configuration file names stays until the file says something else of it than before.

` + referencesHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeMCPServer(cmd.Context(), s, args[0], func(m *aibridgedserver.StoredMCPServer) error { return flags.apply(cmd, m) })
		},
	}
	flags.add(cmd)
	return cmd
}

func newMCPServerSwitchCommand(s *settings, use, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use:   use + " ID",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return changeMCPServer(cmd.Context(), s, args[0], func(m *aibridgedserver.StoredMCPServer) error {
				m.Disabled = disabled
				return nil
			})
		},
	}
}

func changeMCPServer(ctx context.Context, s *settings, id string, change func(*aibridgedserver.StoredMCPServer) error) error {
	if err := s.existing(); err != nil {
		return err
	}
	return withStore(ctx, *s, func(store *store) error { return adviseMCPServer(store.ChangeMCPServer(ctx, id, change)) })
}

func newMCPServerRemoveCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Remove an MCP server that a command has added, with users' tokens for it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				return adviseMCPServer(store.RemoveMCPServer(cmd.Context(), args[0]))
			})
		},
	}
}

// adviseMCPServer adds to an error what to do.
func adviseMCPServer(err error) error {
	switch {
	case errors.Is(err, aibridgedserver.ErrUnknownMCPServer):
		return fmt.Errorf("%w; `aibridged mcp-server list` shows those that are there", err)
	case errors.Is(err, aibridgedserver.ErrKnownMCPServer):
		return fmt.Errorf("%w; `aibridged mcp-server set` changes it", err)
	}
	return adviseProvider(err)
}

func newMCPServerListCommand(s *settings) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the MCP servers and where they come from; mcp list connects to them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				servers, err := store.StoredMCPServers(cmd.Context())
				if err != nil {
					return err
				}
				return writeMCPServers(cmd.OutOrStdout(), servers, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line, for each server")
	return cmd
}

func writeMCPServers(out io.Writer, servers []aibridgedserver.StoredMCPServer, asJSON bool) error {
	encoder, table := newJSONLines(out), tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	encoder.SetEscapeHTML(false)
	if !asJSON {
		fmt.Fprintln(table, "ID\tURL\tTOKEN\tFOR\tFROM\tSTATE")
	}
	for _, m := range servers {
		m.URL = withoutQuery(m.URL)
		if asJSON {
			if err := encoder.Encode(m); err != nil {
				return err
			}
			continue
		}
		users, state, token := "everyone", "enabled", keyConfig{Key: m.TokenFrom}.shown()
		if !m.Everyone {
			users = strings.Join(m.Users, ", ")
		}
		if m.Disabled {
			state = "disabled"
		}
		if token == "" {
			token = "none"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, shown(m.URL, 80), shown(token, 200), shown(users, 80), sourceOf(m.Configured, m.Changed), state)
	}
	return table.Flush()
}
