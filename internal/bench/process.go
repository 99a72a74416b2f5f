package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
)

// process is one of the bench's processes, running.
type process struct {
	name  string
	url   string
	token string
	cmd   *exec.Cmd
}

// start runs this program in a role and waits until it serves.
func start(ctx context.Context, role, upstreamURL string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{name: role, cmd: exec.CommandContext(ctx, self, "-role", role, "-upstream", upstreamURL)}
	p.cmd.Stderr = os.Stderr
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", role, err), p.cmd.Wait())
	}
	if _, err := fmt.Sscan(line, &p.url, &p.token); err != nil {
		return nil, fmt.Errorf("%s printed %q: %w", role, line, err)
	}
	return p, nil
}

// messagesURL is where the process takes Messages requests.
func (p *process) messagesURL() string {
	if p.name == "library" || p.name == "gateway" {
		return p.url + "/anthropic/v1/messages"
	}
	return p.url + "/v1/messages"
}

// usage asks the process what it has used.
func (p *process) usage(ctx context.Context) (used usage, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+usagePath, nil)
	if err != nil {
		return usage{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return usage{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	err = json.NewDecoder(response.Body).Decode(&used)
	return used, err
}
