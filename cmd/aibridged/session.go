package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver/reports"
)

func newSessionCommand(s *settings) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "session ID",
		Short: "Show what happened in a session; works while serve runs",
		Long: `session shows what happened in a session of a client: what a person typed, what the model thought, which tools it called,
and what each step cost. ID is the number that usage --by session shows, the id that the client has for the session, or that
of one of its interceptions. If several sessions have an id, the one with that number is shown, else the latest, and the others
are named. An ID that begins with a hyphen stands behind --. What sub-agents did is indented.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withReports(cmd, *s, func(ctx context.Context, _ *store, of *reports.Reports) error {
				found, err := of.FindSessions(ctx, reports.Operator(), args[0])
				if errors.Is(err, reports.ErrNotFound) {
					return fmt.Errorf("no session has the id %q; `aibridged usage --by session` shows some", args[0])
				}
				if err != nil {
					return err
				}
				for _, other := range found[1:] {
					fmt.Fprintf(cmd.ErrOrStderr(), "session %d of %s with %s has this id, too\n", other.ID, shown(other.User, 40), shown(other.Client, 40))
				}
				return writeSession(ctx, cmd.OutOrStdout(), of, found[0].ID, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the parts of the timeline as JSON objects, one a line")
	return cmd
}

// writeSession writes all parts of a timeline.
func writeSession(ctx context.Context, out io.Writer, of *reports.Reports, id int64, asJSON bool) error {
	encoder := newJSONLines(out)
	encoder.SetEscapeHTML(false)
	text := &timelineText{out: out}
	first := true
	for part, err := range of.Timelines(ctx, reports.Operator(), id, "") {
		switch {
		case err != nil:
			return err
		case asJSON:
			err = encoder.Encode(part)
		default:
			err = text.part(part, first)
		}
		if err != nil {
			return err
		}
		first = false
	}
	return nil
}

// timelineText writes a timeline for a terminal.
type timelineText struct {
	out   io.Writer
	turns int
	err   error
}

func (t *timelineText) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format+"\n", args...)
	}
}

const lineWidth = 110

func (t *timelineText) part(part *reports.Timeline, first bool) error {
	if s := part.Session; first {
		t.line("session %d: %s", s.ID, shown(s.Title, lineWidth))
		t.line("  %s with %s, %s to %s", shown(s.User, 40), shown(s.Client, 40), s.StartedAt.Local().Format(time.DateTime), s.LastAt.Local().Format(time.DateTime))
		t.line("  %s, %s; models: %s", counted(int(s.Requests), "request"), costText(s.Figures), shown(strings.Join(s.Models, ", "), lineWidth))
	}
	for _, turn := range part.Turns {
		if turn.Prompt != "" {
			t.turns++
			t.line("\n%d. %s  (%s)", t.turns, shown(turn.Prompt, lineWidth), costText(turn.Figures))
		}
		for _, step := range turn.Steps {
			t.step(step)
		}
	}
	return t.err
}

func (t *timelineText) step(step reports.Step) {
	indent := "   "
	if step.AgentID != "" {
		indent = "      | " + shown(step.AgentID, 16) + " "
	}
	took := "running"
	if step.EndedAt != nil {
		took = step.EndedAt.Sub(step.StartedAt).Round(time.Millisecond).String()
	}
	result := ""
	if step.Outcome != reports.OK && step.Outcome != reports.Running {
		result = "  " + shown(step.Outcome+" "+step.ErrorMessage, 60)
	}
	t.line("%s%s %s  %s  in %d, cached %d, out %d  %s%s", indent, step.StartedAt.Local().Format(time.TimeOnly), shown(step.Model, 32), took,
		step.Input, step.CacheRead+step.CacheWrite, step.Output, costText(step.Figures), result)
	if step.Generated {
		t.line("%s  asked by the client: %s", indent, shown(step.Prompt, lineWidth))
	}
	for _, thought := range step.Thoughts {
		if thought != "" {
			t.line("%s  thought: %s", indent, shown(thought, lineWidth))
		}
	}
	for _, call := range step.Calls {
		result := ""
		if call.Error != "" {
			result = "  failed: " + shown(call.Error, 60)
		}
		t.line("%s  calls %s %s%s", indent, shown(call.Tool, 32), shown(call.Input, lineWidth), result)
	}
}
