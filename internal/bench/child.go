package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// child is a process that the bench started. The caller of start stops it.
type child struct {
	name  string
	cmd   *exec.Cmd
	said  *os.File      // The file with its standard error.
	told  []string      // The match of childSpec.serves, and its groups.
	ended chan struct{} // Closed when it has ended; then err is set.
	err   error
}

const (
	startPatience = 20 * time.Second // Until a process serves.
	stopPatience  = 40 * time.Second // Until it has ended: the gateway drains for 30 s.
)

// childSpec is how a process is started.
type childSpec struct {
	name    string
	program string
	args    []string
	env     []string // More variables.
	stderr  string   // The file that gets its standard error.
	// serves matches what the process has printed once it serves; its first group is the address. If it is empty, start
	// does not wait, and the caller must find out when the process serves.
	serves string
}

var errNotServing = errors.New("it does not serve")

// start starts a process, waits until it serves, and returns its address.
func (spec childSpec) start(ctx context.Context) (_ *child, address string, err error) {
	said, err := os.Create(spec.stderr)
	if err != nil {
		return nil, "", err
	}
	c := &child{name: spec.name, cmd: exec.CommandContext(ctx, spec.program, spec.args...), said: said, ended: make(chan struct{})}
	c.cmd.Env = append(environment(), spec.env...)
	c.cmd.Stderr = said
	c.cmd.SysProcAttr = diesWithParent()
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = stopPatience
	stdout, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("start %s: %w", spec.name, err), said.Close())
	}
	c.told, err = awaitMatch(stdout, spec.serves)
	if len(c.told) > 1 {
		address = c.told[1]
	}
	go func() {
		defer close(c.ended)
		_, _ = io.Copy(io.Discard, stdout) // The rest of its output is not needed.
		c.err = c.cmd.Wait()
	}()
	if err != nil {
		return nil, "", fmt.Errorf("start %s: %w", spec.name, errors.Join(err, c.stop(), c.complaint()))
	}
	return c, address, nil
}

// environment returns this process's environment without the variables that change Go's memory management, and without
// the role.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return slices.Contains([]string{"GOGC", "GOMEMLIMIT", "GODEBUG", roleVariable}, name)
	})
}

// awaitMatch reads lines until what was read matches pattern, and returns the match and its groups. An empty pattern
// returns at once.
func awaitMatch(from io.Reader, pattern string) ([]string, error) {
	if pattern == "" {
		return nil, nil
	}
	wanted, found := regexp.MustCompile(pattern), make(chan []string, 1)
	go func() {
		defer close(found)
		var said strings.Builder
		for lines := bufio.NewReader(from); ; {
			line, err := lines.ReadString('\n')
			said.WriteString(line)
			if match := wanted.FindStringSubmatch(said.String()); match != nil {
				found <- match
				return
			}
			if err != nil {
				return
			}
		}
	}()
	select {
	case match, ok := <-found:
		if !ok {
			return nil, errNotServing
		}
		return match, nil
	case <-time.After(startPatience):
		return nil, errNotServing
	}
}

// complaint returns the end of the process's standard error as an error.
func (c *child) complaint() error {
	text, err := os.ReadFile(c.said.Name())
	if err != nil {
		return err
	}
	return fmt.Errorf("%s said: %s", c.name, bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// stop ends the process and waits until it has ended. It returns an error if the process had ended before, or does not
// end in good order.
func (c *child) stop() error {
	defer c.said.Close()
	select {
	case <-c.ended:
		return errors.Join(fmt.Errorf("%s ended by itself: %w", c.name, c.err), c.complaint())
	default:
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	select {
	case <-c.ended:
	case <-time.After(stopPatience):
		_ = c.cmd.Process.Kill() // Its end is awaited next.
		<-c.ended
	}
	if c.err != nil {
		return errors.Join(fmt.Errorf("%s: %w", c.name, c.err), c.complaint())
	}
	return nil
}
