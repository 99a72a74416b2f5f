package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"github.com/coder/aibridged/aibridgedserver"
)

// longestRow is how many bytes a row of an export may have. The longest texts of a record are those of one request.
const longestRow = 512 << 20

func newExportCommand(s *settings) *cobra.Command {
	var digest bool
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write users, tokens, providers, MCP servers and records as JSON lines, to be imported elsewhere; works while serve runs",
		Long: `export writes one JSON object a line, in an order and a form that do not depend on the database. Secrets of tokens are not
in it, only their hashes; prompts are, and keys of providers and tokens for MCP servers are as they are encrypted. The key for
that is not: the first row says which one it is. Without FILE it goes to standard output.

If FILE is not empty, it must be the beginning of this export, also one that was cut off within a line: all of it is
compared, and the rest is added. Otherwise the command fails, and FILE stays as it is. So an interrupted export goes on unless
what it has so far has changed since; a later export, with new users, tokens or interceptions, needs a new file.

The last rows, kept_turns, are what gateways keep of conversations for as long as their clients may go on with them: a client
that does then finds its conversation. Those that have expired are left out.

--digest prints the SHA-256 of all rows before kept_turns instead: two databases that have the same digest have the same
users, groups, budgets, tokens, providers, MCP servers, secrets, access log and records. It says nothing of kept_turns, which expire at any
time, of what is derived from records (costs, sessions, the search), of prices, and of what deleted records cost.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := s.existing(); err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				switch {
				case digest && len(args) > 0:
					return errors.New("--digest writes no file")
				case digest:
					hash := sha256.New()
					if _, err := writeRows(hash, store.Export(cmd.Context())); err != nil {
						return err
					}
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "%x\n", hash.Sum(nil))
					return err
				}
				all := oneAfterTheOther(store.Export(cmd.Context()), store.ExportTurns(cmd.Context()))
				if len(args) == 0 {
					_, err := writeRows(cmd.OutOrStdout(), all)
					return err
				}
				n, err := exportTo(args[0], all)
				if n > 0 || err == nil {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s added to %s\n", counted(n, "row"), args[0])
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&digest, "digest", false, "print only the SHA-256 of the export")
	return cmd
}

// oneAfterTheOther yields the rows of all parts, up to the first error.
func oneAfterTheOther(parts ...iter.Seq2[[]byte, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, part := range parts {
			for row, err := range part {
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

// mostDiffers is how many differences import names.
const mostDiffers = 20

func newImportCommand(s *settings) *cobra.Command {
	var options aibridgedserver.ImportOptions
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Store what export has written; works while serve runs",
		Long: `import stores the rows of an export. Users, tokens and records that are there already stay as they are, but for tokens that
were revoked and interceptions that had no start or no end: so an import that was interrupted is done again, and a later
export is added to an earlier one.

Groups, budgets, providers, MCP servers and users' tokens for these are stored last, all at once; a gateway that runs serves them
within a second. Of a provider, a budget or a token for an MCP server that is here in another state, the later one stays, and a
membership of a group that has ended there ends here. All else that differs stays as it is here, and is named at the end.
With --exact, all of these become what the export has, and what it does not have is deleted: so the last export before a
move leaves the same digest as where it came from, unless the database here had users, tokens or records of its own.

Secrets come as they are encrypted. If the key that they need is not in the data directory (or in AIBRIDGED_ENCRYPTION_KEY),
import stores nothing, and says what to copy where.

FILE may be -, which is standard input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in := cmd.InOrStdin()
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			rows, err := s.importable(in)
			if err != nil {
				return err
			}
			return withStore(cmd.Context(), *s, func(store *store) error {
				done, err := store.ImportWith(cmd.Context(), options, rows)
				if err != nil {
					return err
				}
				return writeImported(cmd.ErrOrStderr(), done)
			})
		},
	}
	cmd.Flags().BoolVar(&options.Exact, "exact", false,
		"make groups, budgets, providers, MCP servers and users' tokens for these what the export has, and delete those that it does not have")
	return cmd
}

// writeImported says what an import did, and what is different afterwards.
func writeImported(out io.Writer, done aibridgedserver.Imported) error {
	text := fmt.Sprintf("%s read\n", counted(int(done.Read), "row"))
	if done.Turns > 0 {
		text += fmt.Sprintf("%s of conversations kept\n", counted(int(done.Turns), "turn"))
	}
	if n := len(done.Differs); n > 0 {
		text += "Not as in the export:\n"
		for _, what := range done.Differs[:min(n, mostDiffers)] {
			text += "  " + what + "\n"
		}
		if n > mostDiffers {
			text += fmt.Sprintf("  and %d more\n", n-mostDiffers)
		}
		text += "This stays as it is. To have what the export has, and nothing else, import it with --exact.\n"
	}
	_, err := io.WriteString(out, text)
	return err
}

// readRows yields the lines of an export. A last line that is cut off is an error.
func readRows(in io.Reader) iter.Seq2[[]byte, error] {
	reader := bufio.NewReaderSize(in, 1<<20)
	return func(yield func([]byte, error) bool) {
		for {
			line, err := readLine(reader)
			if errors.Is(err, io.EOF) {
				return
			}
			if errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the last line is cut off: export to the same file again, which completes it, or to another one")
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// readLine returns a line without its end. The error is [io.ErrUnexpectedEOF] if it has none, and [io.EOF] behind the last
// line.
func readLine(reader *bufio.Reader) (line []byte, err error) {
	for {
		piece, err := reader.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(line) > longestRow:
			return nil, fmt.Errorf("a line has more than %d bytes", longestRow)
		}
	}
}

// writeRows writes rows as lines, and returns how many.
func writeRows(out io.Writer, rows iter.Seq2[[]byte, error]) (n int, err error) {
	writer := bufio.NewWriterSize(out, 1<<20)
	for row, err := range rows {
		if err != nil {
			return n, errors.Join(err, writer.Flush())
		}
		if _, err := writer.Write(append(row, '\n')); err != nil {
			return n, err
		}
		n++
	}
	return n, writer.Flush()
}
