package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
)

const usageHelp = `usage tells what was spent, split by user, group, model, client, provider, tool, outcome, day or session.

Costs are in USD, by the prices that held at the instant of each request: those of an embedded table, and those of prices: in
the configuration of serve, or in the file that --config names. What has no price is not in COST: UNPRICED counts such requests and their tokens, and the
last lines name their models. A + behind a cost says so, a ~ that a part of it is estimated, since streams were cut.
FIRST BYTE is about how long half of the requests took at most to the first byte of their answer. Days are those of the
local time zone; the environment variable TZ chooses another one. A session counts where it began.

Prices that have changed for the past count once aibridged reprice has run.`

// usageFlags are the flags of usage.
type usageFlags struct {
	by, since, until, user string
	asCSV, asJSON          bool
}

func newUsageCommand(s *settings) *cobra.Command {
	var f usageFlags
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Tell who spent how much on what; works while serve runs",
		Long:  usageHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(reports.Breakdowns(), f.by) {
				return fmt.Errorf("--by is %q: use one of %s", f.by, strings.Join(reports.Breakdowns(), ", "))
			}
			if f.asCSV && f.asJSON {
				return errors.New("--csv and --json are two forms: use one")
			}
			over, err := f.over(time.Now())
			if err != nil {
				return err
			}
			return withReports(cmd, *s, func(ctx context.Context, _ *store, of *reports.Reports) error {
				query := reports.Query{Range: over, Zone: time.Local}
				if f.user != "" {
					if query.UserID, err = of.UserID(ctx, f.user); err != nil {
						return fmt.Errorf("--user %q: %w", f.user, aibridgedserver.ErrUnknownUser)
					}
				}
				rows, err := of.Breakdown(ctx, reports.Operator(), query, f.by)
				if err != nil {
					return err
				}
				switch {
				case f.asJSON:
					return writeUsageJSON(cmd.OutOrStdout(), rows)
				case f.asCSV:
					return writeUsageCSV(cmd.OutOrStdout(), f.by, rows)
				}
				models, err := of.Breakdown(ctx, reports.Operator(), query, "model")
				if err != nil {
					return err
				}
				return writeUsage(cmd.OutOrStdout(), f.by, rows, models)
			})
		},
	}
	cmd.Flags().StringVar(&f.by, "by", "user", "by what it is split: "+strings.Join(reports.Breakdowns(), ", "))
	cmd.Flags().StringVar(&f.since, "since", "30d", "what began at this `TIME` or later: a date, a time or an age")
	cmd.Flags().StringVar(&f.until, "until", "", "what began before this `TIME`; empty means now")
	cmd.Flags().StringVar(&f.user, "user", "", "only what this user did")
	cmd.Flags().BoolVar(&f.asCSV, "csv", false, "print comma-separated values")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// over returns the range of the flags. It ends behind the quarter of an hour that now is in.
func (f usageFlags) over(now time.Time) (over reports.Range, err error) {
	if over.From, err = parseMoment(f.since, now); err != nil {
		return over, fmt.Errorf("--since: %w", err)
	}
	over.To = now.Add(15 * time.Minute)
	if f.until != "" {
		if over.To, err = parseMoment(f.until, now); err != nil {
			return over, fmt.Errorf("--until: %w", err)
		}
	}
	if !over.From.Before(over.To) {
		return over, errors.New("--since must be before --until")
	}
	return over, nil
}

func writeUsageJSON(out io.Writer, rows []reports.Row) error {
	encoder := json.NewEncoder(out)
	for _, row := range rows {
		if err := encoder.Encode(row); err != nil {
			return err
		}
	}
	return nil
}

func writeUsageCSV(out io.Writer, by string, rows []reports.Row) error {
	table := csv.NewWriter(out)
	err := table.Write([]string{
		by, "id", "requests", "errors", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "usd", "estimated_usd",
		"unpriced_requests", "unpriced_tokens", "tool_calls", "first_byte_p50_ms",
	})
	for _, row := range rows {
		line := []string{reports.CSVCell(row.Name), reports.CSVCell(row.Value)}
		for _, n := range []int64{row.Requests, row.Errors, row.Input, row.Output, row.CacheRead, row.CacheWrite} {
			line = append(line, strconv.FormatInt(n, 10))
		}
		line = append(line, row.USD.String(), row.Estimated.String())
		for _, n := range []int64{row.Unpriced, row.UnpricedTokens, row.ToolCalls, row.FirstByte} {
			line = append(line, strconv.FormatInt(n, 10))
		}
		err = errors.Join(err, table.Write(line))
	}
	table.Flush()
	return errors.Join(err, table.Error())
}

func writeUsage(out io.Writer, by string, rows, models []reports.Row) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	var total reports.Figures
	fmt.Fprintln(table, "REQUESTS\tIN\tOUT\tCACHED\tCOST\tERRORS\tFIRST BYTE\tUNPRICED\t "+strings.ToUpper(by))
	line := func(name string, f reports.Figures) {
		firstByte, unpriced := "-", "-"
		if f.FirstByte > 0 {
			firstByte = (time.Duration(f.FirstByte) * time.Millisecond).String()
		}
		if f.Unpriced > 0 {
			unpriced = fmt.Sprintf("%d (%d tokens)", f.Unpriced, f.UnpricedTokens)
		}
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%s\t%d\t%s\t%s\t %s\n", f.Requests, f.Input, f.Output, f.CacheRead+f.CacheWrite, costText(f), f.Errors,
			firstByte, unpriced, name)
	}
	for _, row := range rows {
		name := row.Name
		if name == "" {
			name = row.Value
		}
		if by == "session" {
			name = row.Value + " " + name
		}
		line(shown(name, 60), row.Figures)
		total.Add(row.Figures)
	}
	if by != "group" && by != "tool" { // A user's requests count in each group, and a request in each of its tools.
		line("TOTAL", total)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, row := range models {
		if row.Unpriced > 0 {
			if _, err := fmt.Fprintf(out, "no price, at least for a part: %s, %s with %d tokens\n", shown(row.Value, 60), counted(int(row.Unpriced), "request"),
				row.UnpricedTokens); err != nil {
				return err
			}
		}
	}
	return nil
}

// costText returns a cost with its marks. A cost that is not known at all is no number.
func costText(f reports.Figures) string {
	if f.Unpriced > 0 && f.USD.IsZero() {
		return "unknown"
	}
	text := "$" + f.USD.StringFixed(4)
	if f.Estimated.IsPositive() {
		text = "~" + text
	}
	if f.Unpriced > 0 {
		text += "+"
	}
	return text
}
