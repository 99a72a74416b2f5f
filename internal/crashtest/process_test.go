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
	"time"
)

// comePatience is how long a process may take until it serves, on a busy machine.
const comePatience = 30 * time.Second

// process is another process of this program. The code that starts it must kill or stop it.
type process struct {
	name  string // Its role and the number of the start, for complaints.
	log   string // The path of the file that its standard error goes to.
	cmd   *exec.Cmd
	stdin io.Closer

	ready chan struct{} // Closed once it serves.
	ended chan struct{} // Closed once it has ended; then err is set.
	err   error
}

// startProcess starts a process for a task, and writes its log to a file in the directory logs.
func startProcess(do task, number int, logs string) (*process, error) {
	text, err := json.Marshal(do)
	if err != nil {
		return nil, err
	}
	p := &process{
		name:  fmt.Sprintf("%s, start %d", do.Role, number),
		log:   filepath.Join(logs, fmt.Sprintf("%s-%03d.log", do.Role, number)),
		cmd:   exec.Command(os.Args[0]),
		ready: make(chan struct{}),
		ended: make(chan struct{}),
	}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // The process has its own descriptor.
	// Without this, the race detector would make each process sleep for a second at its end.
	p.cmd.Env = append(os.Environ(), taskVariable+"="+string(text), "GORACE=atexit_sleep_ms=0")
	p.cmd.Stderr = log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.watch(stdout)
	return p, nil
}

// watch reads the process's output and waits for its end.
func (p *process) watch(stdout io.Reader) {
	defer close(p.ended)
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == readyLine {
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
	closeErr := p.stdin.Close()
	<-p.ended // The process ends by itself after stopPatience: see runTask.
	if err := errors.Join(closeErr, p.err); err != nil {
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

// fixedAddress returns an address on which one process after the other can listen. Its port is not one that the system
// gives to outgoing connections: such a connection could take it while no process listens.
func fixedAddress(rng *rand.Rand) (string, error) {
	var lastErr error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rng.IntN(10_000))
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return address, listener.Close()
		}
		lastErr = err
	}
	return "", fmt.Errorf("no free port: %w", lastErr)
}
