package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

// waitsForCommand is in the line of the log of a gateway that waits for a command.
const waitsForCommand = "the start goes on when it is done"

// olderDatabase makes a data directory with a database of version 2, and keeps others from changing its tables until
// release is called.
func olderDatabase(t *testing.T) (s settings, release func()) {
	t.Helper()
	s, stop := olderGateway(t)
	stop()
	db, err := sql.Open("sqlite", s.database())
	check(t, err)
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	check(t, err)
	release = sync.OnceFunc(func() { _ = db.Close() })
	t.Cleanup(release)
	return s, release
}

// awaitDataLock waits until a process has written its number into the lock of a data directory, which it does when it has
// the lock. To try the lock would be a second gateway's part.
func awaitDataLock(t *testing.T, s settings, cmd *exec.Cmd) {
	t.Helper()
	file, want := filepath.Join(s.records(), "lock"), fmt.Sprintln(cmd.Process.Pid)
	await(t, func() string {
		holder, err := os.ReadFile(file)
		return unless(err == nil && string(holder) == want, fmt.Sprintf("%v takes the lock of the data directory", cmd.Args[1:]))
	})
}

// process is the program in a process whose output is read line by line.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Reader // Of standard output and standard error.
}

func startReading(t *testing.T, args ...string) *process {
	t.Helper()
	reader, writer, err := os.Pipe()
	check(t, err)
	t.Cleanup(func() { _ = reader.Close() })
	cmd := programHere(t, writer, args...)
	cmd.Stdout = writer
	check(t, errors.Join(cmd.Start(), writer.Close()))
	t.Cleanup(func() { _ = cmd.Wait() }) // Also of those that the end of the test kills.
	return &process{cmd, bufio.NewReader(reader)}
}

// prints reads on until the process prints a line with one of the texts, and returns that text. It is empty if the process
// ends without one, with what it printed.
func (p *process) prints(texts ...string) (found, all string) {
	for {
		line, err := p.lines.ReadString('\n')
		all += line
		for _, text := range texts {
			if strings.Contains(line, text) {
				return text, all
			}
		}
		if err != nil {
			return "", all
		}
	}
}

func (p *process) mustPrint(t *testing.T, text string) {
	t.Helper()
	if found, all := p.prints(text); found == "" {
		_ = p.cmd.Wait()
		t.Fatalf("%v: %v, and it printed %s, want %q", p.cmd.Args[1:], p.cmd.ProcessState, all, text)
	}
}

// mustSucceed waits for the end of a command.
func (p *process) mustSucceed(t *testing.T) {
	t.Helper()
	printed, _ := io.ReadAll(p.lines)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v: %v, and it printed %s", p.cmd.Args[1:], err, printed)
	}
}

// stop ends a gateway in good order.
func (p *process) stop(t *testing.T) {
	t.Helper()
	go func() { _, _ = io.Copy(io.Discard, p.lines) }() // Ends with the process.
	(&running{cmd: p.cmd}).end(t, syscall.SIGTERM)
}

func controlArgs(data string) []string {
	return []string{"control", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--console-listen", "off", "--data-dir", data}
}

// TestStartDuringCommand starts a gateway while a command brings the tables up to date: it waits, also while the command is
// stopped, and begins when the command is done or has been killed. A second gateway is refused then, and a command is not.
func TestStartDuringCommand(t *testing.T) {
	for name, args := range map[string]func(data string) []string{"serve": serveArgs, "control": controlArgs} {
		for _, isKilled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s killed %v", name, isKilled), func(t *testing.T) {
				t.Parallel()
				s, release := olderDatabase(t)
				command := programHere(t, nil, "token", "create", "--user", "ada", "--data-dir", s.dataDir)
				check(t, command.Start())
				awaitDataLock(t, s, command)
				check(t, command.Process.Signal(syscall.SIGSTOP)) // So that nothing depends on how long SQLite waits.
				gateway := startReading(t, args(s.dataDir)...)
				gateway.mustPrint(t, waitsForCommand)
				release()
				if isKilled {
					check(t, command.Process.Kill())
					_ = command.Wait()
				} else {
					check(t, command.Process.Signal(syscall.SIGCONT))
					if err := command.Wait(); err != nil {
						t.Errorf("the command: %v", err)
					}
				}
				gateway.mustPrint(t, "  data directory")
				for _, second := range []func(data string) []string{serveArgs, controlArgs} {
					startReading(t, second(s.dataDir)...).mustPrint(t, fmt.Sprintf("in use by process %d: stop it", gateway.cmd.Process.Pid))
				}
				_ = newToken(t, s.dataDir)
				gateway.stop(t)
			})
		}
	}
}

// TestCommandsDuringStart runs commands while a gateway brings the tables up to date: they wait, and the gateway is none the
// worse for them.
func TestCommandsDuringStart(t *testing.T) {
	t.Parallel()
	s, release := olderDatabase(t)
	gateway := startReading(t, serveArgs(s.dataDir)...)
	awaitDataLock(t, s, gateway.cmd)
	commands := make([]*process, 3)
	for i := range commands {
		commands[i] = startReading(t, "token", "create", "--user", "ada", "--data-dir", s.dataDir)
	}
	release()
	gateway.mustPrint(t, "  data directory")
	for _, command := range commands {
		command.mustSucceed(t)
	}
	gateway.stop(t)
}

// TestStartBesideLongCommand starts a gateway while an import waits for its rows: the import has the database open, and no lock.
func TestStartBesideLongCommand(t *testing.T) {
	t.Parallel()
	s := settings{dataDir: t.TempDir()}
	command := programHere(t, nil, "import", "-", "--data-dir", s.dataDir)
	rows, err := command.StdinPipe()
	check(t, errors.Join(err, command.Start()))
	_, err = io.WriteString(rows, `{"table":"encryption","key_ids":[]}`+"\n") // It reads that before it opens the database.
	check(t, err)
	awaitDataLock(t, s, command)
	gateway := startReading(t, serveArgs(s.dataDir)...)
	gateway.mustPrint(t, "  data directory")
	check(t, rows.Close())
	if err := command.Wait(); err != nil {
		t.Errorf("the import: %v", err)
	}
	gateway.stop(t)
}

// TestAllAtOnce starts gateways and commands at the same moment where nothing is yet: one gateway serves, the other one is
// refused, and all commands succeed.
func TestAllAtOnce(t *testing.T) {
	t.Run("SQLite", testAllAtOnce)
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Setenv(databaseVariable, newPostgres(t).Address("postgres"))
		testAllAtOnce(t)
	})
}

func testAllAtOnce(t *testing.T) {
	data := t.TempDir()
	var commands, gateways []*process
	for range 2 {
		commands = append(commands, startReading(t, "token", "create", "--user", "ada", "--data-dir", data))
		gateways = append(gateways, startReading(t, serveArgs(data)...))
		commands = append(commands, startReading(t, "control", "join-token", "--name", "a", "--data-dir", data))
	}
	for _, command := range commands {
		command.mustSucceed(t)
	}
	var serving []*process
	for _, gateway := range gateways {
		switch found, all := gateway.prints("  data directory", "stop it, or name another directory"); found {
		case "  data directory":
			serving = append(serving, gateway)
		case "":
			t.Errorf("a gateway ended: %s", all)
		}
	}
	if len(serving) != 1 {
		t.Fatalf("%d gateways serve", len(serving))
	}
	serving[0].stop(t)
}

// TestStoppedCommand has a command that does not go on: a gateway that starts waits for a bounded time, ends at once when it
// is told to, and says which process it waited for.
func TestStoppedCommand(t *testing.T) {
	s := settings{dataDir: t.TempDir()}
	turn, err := takeTurn(s)
	check(t, err)
	defer func() { _ = turn.Release() }()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := lockData(t.Context(), s, slog.Logger{})
		if want := fmt.Sprintf("in use by process %d, a command that", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if took := time.Since(began); took < turnPatience || took > turnPatience+time.Second {
			t.Errorf("it waited for %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := lockData(ctx, s, slog.Logger{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("told to end: %v", err)
		}
		if _, err := openAlone(t.Context(), s); err == nil || !strings.Contains(err.Error(), "which is at that: try again when it is done") {
			t.Errorf("another command: %v", err)
		}
	})
}
