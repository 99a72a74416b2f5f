package main

import (
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
)

func newInterceptionsCommand(s *settings) *cobra.Command {
	var (
		filter aibridgedserver.InterceptionFilter
		since  time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "interceptions",
		Short: "Show what was asked, answered and called, oldest first; works while serve runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			if filter.Limit < 0 || since < 0 {
				return fmt.Errorf("--limit and --since must not be negative")
			}
			if since > 0 {
				filter.Since = time.Now().Add(-since)
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), store.Interceptions(cmd.Context(), filter))
				}
				return writeTable(cmd.OutOrStdout(), store.Outlines(cmd.Context(), filter))
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line, with all fields")
	cmd.Flags().StringVar(&filter.Username, "user", "", "only the interceptions of this user")
	cmd.Flags().DurationVar(&since, "since", 0, "only interceptions that started within this time, for example 1h")
	cmd.Flags().IntVar(&filter.Limit, "limit", 0, "only the newest N; 0 means all")
	return cmd
}

func writeJSON(out io.Writer, interceptions iter.Seq2[*aibridgedserver.Interception, error]) error {
	encoder := newJSONLines(out)
	encoder.SetEscapeHTML(false)
	for interception, err := range interceptions {
		if err != nil {
			return err
		}
		if err := encoder.Encode(interception); err != nil {
			return err
		}
	}
	return nil
}

func writeTable(out io.Writer, interceptions iter.Seq2[*aibridgedserver.Interception, error]) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "STARTED\tUSER\tCLIENT\tPROVIDER\tMODEL\tTOOK\tIN\tOUT\tCACHED\tTOOLS\tRESULT\tPROMPT")
	for interception, err := range interceptions {
		if err != nil {
			return err
		}
		row := rowOf(interception)
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}

func rowOf(i *aibridgedserver.Interception) []string {
	took, result := "-", "running"
	if i.EndedAt != nil {
		took, result = i.EndedAt.Sub(i.StartedAt).Round(time.Millisecond).String(), "ok"
	}
	if i.ErrorType != nil {
		result = *i.ErrorType
	}
	var in, out, cached int64
	for _, usage := range i.TokenUsages {
		in += usage.InputTokens
		out += usage.OutputTokens
		cached += usage.CacheReadInputTokens + usage.CacheWriteInputTokens
	}
	tools := make([]string, len(i.ToolUsages))
	for n, call := range i.ToolUsages {
		tools[n] = call.Tool
	}
	prompt := ""
	if len(i.Prompts) > 0 {
		prompt = i.Prompts[0].Prompt
	}
	return []string{
		i.StartedAt.Local().Format(time.DateTime), shown(i.Initiator, 20), shown(i.Client, 24), i.ProviderName, shown(i.Model, 32),
		took, fmt.Sprint(in), fmt.Sprint(out), fmt.Sprint(cached), shown(strings.Join(tools, ","), 24), result, shown(prompt, 48),
	}
}

// shown makes a text fit into a cell: one line, no control characters, at most limit characters.
func shown(text string, limit int) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) { // The latter change the direction of text, among others.
			return ' '
		}
		return r
	}, text)), " ")
	runes := []rune(text)
	if len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	if text == "" {
		return "-"
	}
	return text
}
