package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/internal/verify"
)

const verifyHelp = `verify reads the exchanges that serve --keep-exchanges has kept. A decoder of its own works out what should
have been recorded of each: model, client, session, user agent, the tool call that it answers, the
prompt, every token usage, tool call and thought, how it ended, and the size and SHA-256 of both bodies.
verify prints each difference to the records, and ends with status 1 if there is one. It works while
serve runs.

verify also reports an interception whose kept bytes are damaged, and kept bytes of which no start or no
end was recorded. It only counts interceptions without kept bytes: serve did not keep any at that time,
has deleted them because of their age, or could not write them fast enough, which it logs.

If the model calls tools of MCP servers, there are several requests to the upstream, and the bytes of each
answer are kept: verify works out what should have been recorded of all of them together, and which calls
were the gateway's.

verify also counts, by provider and model, the members of usage objects and the types of events that
neither the gateway nor verify reads: what a provider has added. They are no differences.

The bytes of a client's request and an upstream's answer cannot tell:
  - who asked, when, with which credential, and of which provider;
  - why the gateway left an answer before its end: its client stopped reading, or it was shut down;
  - who was first if the client left and the upstream broke off at the same time;
  - what came after the last piece that was written of an exchange in which the gateway was killed: of
    such an interception, verify compares only what was recorded before the answer;
  - whether an error message is the upstream's, if the upstream sent none, or repeated the key;
  - what a tool of an MCP server was asked, where it is, and what it answered;
  - why an answer ended while such tools ran: a limit of rounds or of time, its client, or the gateway. But
    a record that calls it a success differs;
  - whether a call of a tool whose name begins with bmcp_ was the gateway's, if none of its request was
    recorded so and the model was not asked again: models also call tools that they were not told of.
    An interception whose tools run for an hour is reported as one whose end is not recorded.`

// errDiffer is the error of verify if a record differs from the kept bytes.
var errDiffer = errors.New("some records differ from the kept bytes")

func newVerifyCommand(s *settings) *cobra.Command {
	var (
		dir    string
		since  time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify --exchanges DIR",
		Short: "Compare the records with the bytes that serve has kept; works while serve runs",
		Long:  verifyHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			if since < 0 {
				return fmt.Errorf("--since must not be negative")
			}
			if _, err := os.Stat(dir); err != nil {
				return fmt.Errorf("exchanges: %w; name the directory that serve has for --keep-exchanges", err)
			}
			report := newVerdictText(cmd.OutOrStdout())
			if asJSON {
				report = newVerdictJSON(cmd.OutOrStdout())
			}
			var from time.Time
			if since > 0 {
				from = time.Now().Add(-since)
			}
			bar := newProgress(cmd.ErrOrStderr(), "verifying")
			defer bar.end()
			report = countingVerdicts{report, bar, new(int64)}
			return withStore(cmd.Context(), *s, func(store *store) error {
				return runVerify(cmd.Context(), storedRecords{store.Server}, dir, from, report)
			})
		},
	}
	cmd.Flags().StringVar(&dir, "exchanges", "", "the directory that serve has for --keep-exchanges")
	cmd.Flags().DurationVar(&since, "since", 0, "only interceptions that ended within this time, for example 24h")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line: one for each interception, one with what is not read, and one with the sums")
	_ = cmd.MarkFlagRequired("exchanges") // The flag is defined above.
	return cmd
}

// runVerify writes the verdicts on the interceptions that ended at since or later, and the sums. It returns errDiffer
// if there is a difference.
func runVerify(ctx context.Context, records verify.Records, dir string, since time.Time, report verdictWriter) error {
	var sums verify.Sums
	var unread verify.Unread
	for verdict, err := range verify.Interceptions(ctx, records, dir, since) {
		if err != nil {
			return err
		}
		sums.Add(verdict)
		unread.Add(verdict)
		if err := report.verdict(verdict); err != nil {
			return err
		}
	}
	if err := report.unread(unread.Counts()); err != nil {
		return err
	}
	if err := report.sums(sums); err != nil {
		return err
	}
	if sums.Differ > 0 {
		return errDiffer
	}
	return nil
}

// countingVerdicts shows how many verdicts were written.
type countingVerdicts struct {
	verdictWriter

	bar  *progress
	done *int64
}

func (w countingVerdicts) verdict(v verify.Verdict) error {
	*w.done++
	w.bar.set(*w.done, 0)
	return w.verdictWriter.verdict(v)
}
