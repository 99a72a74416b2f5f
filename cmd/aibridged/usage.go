package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
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
local time zone; the environment variable TZ chooses another one. An age in days begins with that day.

Sums are kept by quarters of an hour: both ends of the range are taken down to one, by whatever it is split. The last line, or
the columns from and to, say which range that is. TOTAL is that of the range. If there are more than 10,000 rows, or if records
were deleted since, a last row in parentheses has what the others lack.

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
				found, err := of.Breakdown(ctx, reports.Operator(), query, f.by)
				if err != nil {
					return err
				}
				switch {
				case f.asJSON:
					return writeUsageJSON(cmd.OutOrStdout(), found)
				case f.asCSV:
					return writeUsageCSV(cmd.OutOrStdout(), found)
				}
				models, err := of.Breakdown(ctx, reports.Operator(), query, "model")
				if err != nil {
					return err
				}
				return writeUsage(cmd.OutOrStdout(), found, models.Rows)
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

// over returns the range of the flags, as it is read. Without --until, it ends behind the quarter of an hour that now is in.
func (f usageFlags) over(now time.Time) (over reports.Range, err error) {
	if over.From, err = parseMoment(f.since, now); err != nil {
		return over, fmt.Errorf("--since: %w", err)
	}
	if over.From.After(now) {
		return over, errors.New("--since is in the future")
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

func writeUsageJSON(out io.Writer, found *reports.Breakdown) error {
	encoder := newJSONLines(out)
	for _, line := range found.Lines() {
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func writeUsageCSV(out io.Writer, found *reports.Breakdown) error {
	table := csv.NewWriter(out)
	err := table.Write(reports.LineColumns(found.By))
	for _, line := range found.Lines() {
		err = errors.Join(err, table.Write(line.Cells()))
	}
	table.Flush()
	return errors.Join(err, table.Error())
}

func writeUsage(out io.Writer, found *reports.Breakdown, models []reports.Row) error {
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	if found.By == "tool" {
		writeTools(table, found)
	} else {
		writeFigures(table, found)
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
	const minute = "2006-01-02 15:04 -07:00"
	_, err := fmt.Fprintf(out, "of what began from %s until %s\n", found.Range.From.Local().Format(minute), found.Range.To.Local().Format(minute))
	return err
}

// writeTools writes the table of tools, which have no tokens and no cost.
func writeTools(table io.Writer, found *reports.Breakdown) {
	fmt.Fprintln(table, "REQUESTS\tCALLS\t TOOL")
	for _, line := range found.Lines() {
		fmt.Fprintf(table, "%d\t%d\t %s\n", line.Requests, line.ToolCalls, shown(line.Name, 60))
	}
}

func writeFigures(table io.Writer, found *reports.Breakdown) {
	fmt.Fprintln(table, "REQUESTS\tIN\tOUT\tCACHED\tCOST\tERRORS\tFIRST BYTE\tUNPRICED\t "+strings.ToUpper(found.By))
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
	for _, row := range found.Lines() {
		name := row.Name
		if name == "" {
			name = row.Value
		}
		if found.By == "session" && row.Value != "" {
			name = row.Value + " " + name
		}
		line(shown(name, 60), row.Figures)
	}
	line("TOTAL", found.Total)
}

// costText returns a cost with its marks. A cost that is not known at all is no number.
func costText(f reports.Figures) string {
	if f.NothingPriced() {
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
