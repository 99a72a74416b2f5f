package crashtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
)

// program is the built program.
type program string

// buildProgram builds the program into a directory, with the race detector if this test has it.
func buildProgram(ctx context.Context, dir string) (program, error) {
	path := filepath.Join(dir, "aibridged")
	args := []string{"build", "-o", path}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/coder/aibridged/cmd/aibridged")...)
	if said, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, said)
	}
	return program(path), nil
}

// output returns what a command of the program prints.
func (p program) output(ctx context.Context, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, string(p), args...)
	cmd.Env = append(os.Environ(), env...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%v: %w: %s", args[:min(2, len(args))], err, complaints.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// process returns a process of the program that is not started. It ends in good order on SIGTERM.
func (p program) process(role string, number int, logs string, env []string, args ...string) *process {
	cmd := exec.Command(string(p), args...)
	cmd.Env = append(os.Environ(), env...)
	endWithParent(cmd)
	started := newProcess(role, number, logs, cmd)
	started.askToEnd = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return started
}
