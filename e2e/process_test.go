package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"time"
)

// patience is how long a test waits for something that normally takes a moment. It does not measure speed.
const patience = 20 * time.Second

// process is a running server. Its output is kept.
type process struct {
	name   string
	cmd    *exec.Cmd
	output output
	exited chan struct{} // Closed once err is set.
	err    error
}

// output keeps what a process writes. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // Guarded by mu.
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// listening matches the line in which a server prints its address.
var listening = regexp.MustCompile(`listens on (http://\S+)\n`)

// start starts a server and returns it with its URL once it answers health with 200. The caller stops it.
func start(health string, cmd *exec.Cmd) (p *process, url string, err error) {
	if p, err = launch(cmd); err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = poll(ctx, func() (bool, error) {
		if err := p.ended(); err != nil {
			return false, err
		}
		if match := listening.FindStringSubmatch(p.output.String()); match != nil {
			url = match[1]
			return answers(ctx, url+health), nil
		}
		return false, nil
	})
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("%s: %w\n%s", p.name, err, p.output.String()), p.stop())
	}
	return p, url, nil
}

// launch starts a process and keeps its output. The caller stops it.
func launch(cmd *exec.Cmd) (*process, error) {
	p := &process{name: cmd.Args[1], cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	return p, nil
}

// ended returns an error if the process has ended.
func (p *process) ended() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s ended: %v\n%s", p.name, p.err, p.output.String())
	default:
		return nil
	}
}

func (p *process) wait() {
	p.err = p.cmd.Wait()
	close(p.exited)
}

// stop sends the server the signal of Ctrl-C, and returns an error unless it ends with status 0.
func (p *process) stop() error {
	signalled := p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.exited:
	case <-time.After(patience):
		signalled = errors.Join(fmt.Errorf("%s did not end within %s of SIGINT", p.name, patience), p.cmd.Process.Kill())
		<-p.exited
	}
	if err := errors.Join(signalled, p.err); err != nil {
		return fmt.Errorf("%s: %w\n%s", p.name, err, p.output.String())
	}
	return nil
}

func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}

// poll calls done until it returns true or an error, or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
