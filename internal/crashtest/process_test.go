package crashtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// comePatience is how long a process may take until it serves, on a busy machine.
const comePatience = 30 * time.Second

// endPatience is how long a process may take to end in good order. Each ends by itself sooner.
const endPatience = 60 * time.Second

// process is another process. The code that starts it must kill or stop it.
type process struct {
	name     string // Its role and the number of the start, for complaints.
	log      string // The path of the file that its standard error goes to.
	cmd      *exec.Cmd
	askToEnd func() error

	ready chan struct{} // Closed once it serves.
	ended chan struct{} // Closed once it has ended; then err is set.
	err   error
}

// startTask starts a process of this program for a task.
func startTask(do task, number int, logs string) (*process, error) {
	text, err := json.Marshal(do)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), taskVariable+"="+string(text))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p := newProcess(do.Role, number, logs, cmd)
	p.askToEnd = stdin.Close
	return p, p.start(readyLine)
}

// newProcess returns a process that is not started. Its log is going to be a file in the directory logs.
func newProcess(role string, number int, logs string, cmd *exec.Cmd) *process {
	p := &process{
		name:  fmt.Sprintf("%s, start %d", role, number),
		log:   filepath.Join(logs, fmt.Sprintf("%s-%03d.log", role, number)),
		cmd:   cmd,
		ready: make(chan struct{}),
		ended: make(chan struct{}),
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	// Without this, the race detector would make each process sleep for a second at its end.
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	return p
}

// start starts the process, which serves once it prints a line that begins with readyText.
func (p *process) start(readyText string) error {
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close() // The process has its own descriptor.
	p.cmd.Stderr = log
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go p.watch(stdout, readyText)
	return nil
}

// watch reads the process's output and waits for its end.
func (p *process) watch(stdout io.Reader, readyText string) {
	defer close(p.ended)
	ready := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if !ready && strings.HasPrefix(lines.Text(), readyText) {
			ready = true
			close(p.ready)
		}
	}
	p.err = p.cmd.Wait()
}

// awaitReady returns nil once the process serves, or the reason why it does not.
func (p *process) awaitReady() error {
	timer := time.NewTimer(comePatience)
	defer timer.Stop()
	select {
	case <-p.ready:
		return nil
	case <-p.ended:
		return fmt.Errorf("%s did not come up: %v; see %s", p.name, p.err, p.log)
	case <-timer.C:
		return fmt.Errorf("%s did not come up within %v; see %s", p.name, comePatience, p.log)
	}
}

// kill ends the process by SIGKILL and waits for its end. It fails where the process had ended before.
func (p *process) kill() error {
	killErr := p.cmd.Process.Kill()
	<-p.ended
	if code := p.cmd.ProcessState.ExitCode(); killErr != nil || code >= 0 { // A process that a signal ended has no code.
		return fmt.Errorf("%s ended by itself: %v; see %s", p.name, p.err, p.log)
	}
	return p.check()
}

// stop asks the process to end in good order and waits for its end.
func (p *process) stop() error {
	askErr := p.askToEnd()
	timer := time.AfterFunc(endPatience, func() { _ = p.cmd.Process.Kill() }) // It fails where the process has just ended.
	<-p.ended
	timer.Stop()
	if err := errors.Join(askErr, p.err); err != nil {
		return fmt.Errorf("%s did not stop in good order: %v; see %s", p.name, err, p.log)
	}
	return p.check()
}

// check looks in the log for faults that the exit code of a killed process cannot show.
func (p *process) check() error {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	for _, mark := range []string{"DATA RACE", "panic"} {
		if bytes.Contains(log, []byte(mark)) {
			return fmt.Errorf("%s: %s; see %s", p.name, mark, p.log)
		}
	}
	return nil
}

// addresses are those that a test has given to its processes.
type addresses map[string]bool

// fixed returns an address on which one process after the other can listen, and none of another address. Its port is not one that
// the system gives to outgoing connections: such a connection could take it while no process listens.
func (a addresses) fixed(rng *rand.Rand) (string, error) {
	var lastErr error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rng.IntN(10_000))
		if a[address] {
			continue
		}
		listener, err := net.Listen("tcp", address)
		if err == nil {
			a[address] = true
			return address, listener.Close()
		}
		lastErr = err
	}
	return "", fmt.Errorf("no free port: %w", lastErr)
}
