package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"cdr.dev/slog/v3"
	"cdr.dev/slog/v3/sloggers/sloghuman"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/term"
)

// The values of --log-format.
const (
	logText = "text" // For people.
	logJSON = "json" // One JSON object a line.
)

// programLog is the log of serve. It formats each entry and writes the line to a [lineBuffer], so that no request waits
// for the file or terminal behind it. It is a [slog.Sink], safe for concurrent use. Its owner closes it.
type programLog struct {
	sink  slog.Sink
	lines *lineBuffer
}

// newProgramLog returns a log that writes to out in a format: [logText], [logJSON], or, if format is empty, text if out
// is a terminal and JSON if not.
func newProgramLog(out io.Writer, format string) (*programLog, error) {
	terminal := isTerminal(out)
	if format == "" {
		format = logJSON
		if terminal {
			format = logText
		}
	}
	var form func(io.Writer) slog.Sink
	switch format {
	case logText:
		form = sloghuman.Sink
		if terminal {
			// sloghuman checks several times a line whether it writes to a terminal, and would not recognise one behind
			// the buffer. With this variable it colours without checking.
			if err := os.Setenv("FORCE_COLOR", "1"); err != nil {
				return nil, fmt.Errorf("colour the log: %w", err)
			}
		}
	case logJSON:
		form = func(w io.Writer) slog.Sink { return newJSONSink(w) }
	default:
		return nil, fmt.Errorf("--log-format %q: use %s or %s", format, logText, logJSON)
	}
	lines := newLineBuffer(out, lineBufferOptions{notice: func(dropped uint64) []byte { return dropNotice(form, dropped) }})
	return &programLog{sink: form(lines), lines: lines}, nil
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) (is bool) {
	file, ok := w.(syscall.Conn)
	if !ok {
		return false
	}
	// Unlike Fd, SyscallConn does not make the file blocking.
	raw, err := file.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) { is = term.IsTerminal(int(fd)) })
	return is && err == nil
}

// dropNotice returns the line that says how many lines were dropped at its place.
func dropNotice(form func(io.Writer) slog.Sink, dropped uint64) []byte {
	var line bytes.Buffer
	form(&line).LogEntry(context.Background(), slog.SinkEntry{
		Time: time.Now().UTC(), Level: slog.LevelWarn,
		Message: "log lines were dropped: they could not be written in time",
		Fields:  slog.M(slog.F("lines", dropped)),
	})
	return line.Bytes()
}

// LogEntry implements [slog.Sink].
func (l *programLog) LogEntry(ctx context.Context, entry slog.SinkEntry) {
	l.sink.LogEntry(ctx, entry)
	if entry.Level >= slog.LevelFatal {
		l.close() // The logger ends the process after this call.
	}
}

// Sync implements [slog.Sink]. Loggers call it after each error, in the goroutine of a request, so it does not wait: it
// only makes the buffer write its lines at once.
func (l *programLog) Sync() { l.lines.hurry() }

// logger returns a logger for entries of that level and above.
func (l *programLog) logger(level slog.Level) slog.Logger { return slog.Make(l).Leveled(level) }

// metric counts the lines that are missing from the log.
func (l *programLog) metric() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "log_lines_dropped_total", Help: "Log lines that were dropped because they could not be written, or not in time.",
	}, func() float64 { return float64(l.lines.droppedTotal()) })
}

// close writes the lines that remain, for a second at most. Entries that come later are dropped.
func (l *programLog) close() { l.lines.close() }
