package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// server is a running process that answers requests.
type server struct {
	name    string
	address string
	token   string
	// routed says that paths begin with a provider's name.
	routed bool
	child  *child
	log    string  // The file that must have a line for each request; empty: there is none.
	viewer *viewer // Nil: nobody looks at its page.

	answered atomic.Int64 // The number of requests.
}

// prefix returns the part of a path before the format's own.
func (s *server) prefix(f format) string {
	if s.routed {
		return "/" + f.provider
	}
	return ""
}

func (s *server) pid() int { return s.child.cmd.Process.Pid }

// settleLimit is how long cpu waits for a process that keeps working.
const settleLimit = 3 * time.Second

// cpu waits until the server rests, and returns the CPU time that it has used. So work after the answers counts too,
// for example storing records.
func (s *server) cpu(ctx context.Context) (time.Duration, error) {
	before, err := cpuOf(s.pid())
	for began := time.Now(); err == nil && time.Since(began) < settleLimit; {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		var now time.Duration
		if now, err = cpuOf(s.pid()); now == before {
			break
		}
		before = now
	}
	return before, err
}

var errLog = errors.New("a line for each request is not in the log")

// stop ends the server, and checks that its log has a line for each request.
func (s *server) stop() error {
	var looked error
	if s.viewer != nil {
		looked = s.viewer.stop()
	}
	if err := errors.Join(looked, s.child.stop()); err != nil {
		return err
	}
	if s.log == "" {
		return nil
	}
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err
	}
	if lines := int64(strings.Count(string(text), "\n")); lines < s.answered.Load() {
		return fmt.Errorf("%s: %w: %d lines, %d requests", s.name, errLog, lines, s.answered.Load())
	}
	return nil
}

// target is a kind of server, of which any number can be started.
type target struct {
	name  string
	start func(ctx context.Context) (*server, error)
}

// setup holds what is needed to start targets.
type setup struct {
	directory string
	self      string // This program.
	program   string // aibridged.
	upstream  string // Its URL.
	gogc      string // The GOGC of serve.
	started   int
}

// file returns a path that is not used yet.
func (g *setup) file(name string) string {
	g.started++
	return filepath.Join(g.directory, fmt.Sprintf("%03d-%s", g.started, name))
}

// newSetup makes a directory and builds the program into it. The caller removes the directory.
func newSetup(ctx context.Context) (*setup, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	directory, err := os.MkdirTemp("", "aibridged-bench-")
	if err != nil {
		return nil, err
	}
	g := &setup{directory: directory, self: self}
	if err := g.build(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(directory))
	}
	return g, nil
}

const programPackage = "github.com/coder/aibridged/cmd/aibridged"

// build builds the program.
func (g *setup) build(ctx context.Context) error {
	g.program = filepath.Join(g.directory, "aibridged")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", g.program, programPackage).CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", programPackage, err, out)
	}
	return nil
}

// keyVariable is the environment variable with the provider's key, which belongs to no account.
const keyVariable = "AIBRIDGED_BENCH_KEY"

// gateway returns the program as users run it, with more lines in its configuration and further arguments, as a target.
func (g *setup) gateway(name, more string, args ...string) target {
	return target{name, func(ctx context.Context) (*server, error) {
		return g.gatewayOn(g.file("data"), name, more, args...).start(ctx)
	}}
}

// gatewayOn is gateway with a data directory.
func (g *setup) gatewayOn(data, name, more string, args ...string) target {
	return target{name, func(ctx context.Context) (*server, error) {
		if err := os.MkdirAll(data, 0o700); err != nil {
			return nil, err
		}
		config := g.file("config.yaml")
		text := fmt.Sprintf("providers:\n- {name: anthropic, type: anthropic, base_url: '%s', keys: ['${%s}']}\n"+
			"- {name: openai, type: openai, base_url: '%s/v1', keys: ['${%s}']}\n%s", g.upstream, keyVariable, g.upstream, keyVariable, more)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return nil, err
		}
		token, err := exec.CommandContext(ctx, g.program, "token", "create", "--user", "bench", "--data-dir", data).Output()
		if err != nil {
			return nil, fmt.Errorf("make a token: %w", err)
		}
		spec := childSpec{
			name: name, program: g.program, args: append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", data, "--config", config}, args...),
			env: []string{keyVariable + "=a-key-of-no-account"}, stderr: g.file("gateway.log"), serves: `(?s)listens on http://(\S+).*for operators +http://(\S+)`,
		}
		child, address, err := spec.start(ctx)
		if err != nil {
			return nil, err
		}
		return &server{name: name, address: address, token: strings.TrimSpace(string(token)), routed: true, child: child, log: spec.stderr}, nil
	}}
}

// role returns this program in a role, as a target.
func (g *setup) role(role string) target {
	return target{role, func(ctx context.Context) (*server, error) {
		child, address, err := childSpec{
			name: role, program: g.self, env: []string{roleVariable + "=" + role, upstreamVariable + "=" + g.upstream, "GOGC=" + g.gogc},
			stderr: g.file(role + ".log"), serves: `^http://(\S+)`,
		}.start(ctx)
		if err != nil {
			return nil, err
		}
		return &server{name: role, address: address, token: "none", child: child}, nil
	}}
}

// gogcOf returns the GOGC that a gateway's metrics show.
func gogcOf(ctx context.Context, s *server) (_ string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.child.told[2]+"/metrics", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	_, value, found := strings.Cut(string(text), "\ngo_gc_gogc_percent ")
	if !found {
		return "", errors.New("the gateway's metrics do not say what its GOGC is")
	}
	value, _, _ = strings.Cut(value, "\n")
	return value, nil
}

// freePort returns an address on which nothing listens.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}
