package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// mcpReport is what the try of an MCP server showed.
type mcpReport struct {
	ID    string          `json:"id"`
	URL   string          `json:"url"`   // Without its query, which may hold a credential.
	Token string          `json:"token"` // Where it is from: own, config or none.
	Took  float64         `json:"took_ms"`
	Error string          `json:"error,omitempty"`
	Tools []mcpToolReport `json:"tools"`
}

// mcpToolReport says what became of one tool.
type mcpToolReport struct {
	Name     string `json:"name"`
	Injected string `json:"injected,omitempty"` // The name that models know it by. Empty: it is left out.
	Note     string `json:"note,omitempty"`     // Why it is left out, or has another name than bmcp_<server>_<tool>.
}

func newMCPListCommand(s *settings) *cobra.Command {
	var (
		user   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Connect to the MCP servers and show their tools, and what is wrong",
		Long: `Connect to the MCP servers that serve was last started with, as a gateway does, and show what
each answers: how long it took to connect and to list its tools, the name under which each tool
is given to models, and why a tool is left out. With --user, the servers are those that the user
may use, with the user's own tokens. Otherwise they are all, with the tokens of the configuration.
A token in an environment variable is looked up in the environment of this command.

The exit status is 1 if a server does not work.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				reports, err := reportMCP(cmd.Context(), store, user)
				if err != nil {
					return adviseMCP(err)
				}
				return writeMCP(cmd.OutOrStdout(), reports, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "connect as this user")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line, for each server")
	return cmd
}

// reportMCP tries the MCP servers of a user, or all if user is empty.
func reportMCP(ctx context.Context, store *store, user string) ([]mcpReport, error) {
	if user == "" {
		tries, err := mcpTriesOfAll(ctx, store)
		return runMCPTries(ctx, tries), err
	}
	tries, err := mcpTriesOf(ctx, store, user)
	return runMCPTries(ctx, tries), err
}

// writeMCP prints the reports, and fails if a server does not work.
func writeMCP(out io.Writer, reports []mcpReport, asJSON bool) error {
	write, failed := writeMCPTables, 0
	if asJSON {
		write = writeMCPJSON
	}
	if err := write(out, reports); err != nil {
		return err
	}
	for _, report := range reports {
		if report.Error != "" {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d MCP servers do not work", failed, len(reports))
	}
	return nil
}

func writeMCPJSON(out io.Writer, reports []mcpReport) error {
	encoder := newJSONLines(out)
	encoder.SetEscapeHTML(false)
	for _, report := range reports {
		if err := encoder.Encode(report); err != nil {
			return err
		}
	}
	return nil
}

func writeMCPTables(out io.Writer, reports []mcpReport) error {
	if len(reports) == 0 {
		_, err := fmt.Fprintln(out, "No MCP servers: serve takes them from mcp_servers in its configuration when it starts.")
		return err
	}
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "SERVER\tURL\tTOKEN\tTOOK\tTOOLS\tLEFT OUT\tRESULT")
	tools := 0
	for _, report := range reports {
		result := "ok"
		if report.Error != "" {
			result = shown(report.Error, 400)
		}
		used := 0
		for _, tool := range report.Tools {
			if tool.Injected != "" {
				used++
			}
		}
		tools += len(report.Tools)
		took := time.Duration(report.Took * float64(time.Millisecond)).Round(time.Millisecond)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", report.ID, shown(report.URL, 80), report.Token, took, used, len(report.Tools)-used, result)
	}
	if err := table.Flush(); err != nil || tools == 0 {
		return err
	}
	fmt.Fprintln(out)
	fmt.Fprintln(table, "SERVER\tTOOL\tGIVEN TO MODELS AS\tNOTE")
	for _, report := range reports {
		for _, tool := range report.Tools {
			row := []string{report.ID, shown(tool.Name, 64), shown(tool.Injected, 64)}
			if tool.Note != "" {
				row = append(row, shown(tool.Note, 200))
			}
			fmt.Fprintln(table, strings.Join(row, "\t"))
		}
	}
	return table.Flush()
}
