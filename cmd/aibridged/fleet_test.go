package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	fleetGateways = 3
	fleetClients  = 12
	// fleetPause is the time between two kills.
	fleetPause = 1500 * time.Millisecond
)

// fleet is a control plane and several gateways, as processes, under load.
type fleet struct {
	*apart

	config  string
	running *exec.Cmd // The control plane.
	members []*member
	token   string
	stop    chan struct{} // Closed when clients are to send nothing more.

	mu       sync.Mutex
	answered map[string]bool // The names of requests that were answered with 200, whole. Guarded by mu.
	refused  int             // Guarded by mu.
}

// member is a gateway of a fleet.
type member struct {
	served

	args   []string
	cmd    *exec.Cmd
	killed atomic.Bool // It was killed at some time, so its clients may see connections break.
}

func (f *fleet) startControl(t *testing.T) {
	t.Helper()
	f.running = programHere(t, nil, f.controlArgs(f.config)...)
	printedBy(t, f.running, controlPrints)
}

// start starts the gateway, again at the same address.
func (m *member) start(t *testing.T) {
	t.Helper()
	m.cmd = programHere(t, nil, m.args...)
	found := printedBy(t, m.cmd, gatewayPrints)
	m.base, m.admin = found[1], found[2]
}

// newFleet starts a fleet whose gateways are ready.
func newFleet(t *testing.T, upstream string) *fleet {
	t.Helper()
	f := &fleet{apart: newApart(t), config: configFile(t, providerText("main", upstream)), stop: make(chan struct{}), answered: map[string]bool{}}
	f.startControl(t)
	f.token = newToken(t, f.data)
	for range fleetGateways {
		m := &member{served: served{data: t.TempDir()}}
		m.args = []string{
			"gateway", "--control", f.control, "--listen", freeAddress(t), "--admin-listen", freeAddress(t), "--data-dir", m.data,
		}
		m.start(t)
		f.members = append(f.members, m)
	}
	for _, m := range f.members {
		m.becomes(t, 200, "ready")
	}
	return f
}

// send is a client: it sends requests to one gateway after another, each with a name of its own, until it is to stop.
func (f *fleet) send(t *testing.T, client int) {
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer web.CloseIdleConnections()
	for n := 0; ; n++ {
		select {
		case <-f.stop:
			return
		default:
		}
		m, name := f.members[(client+n)%len(f.members)], fmt.Sprintf("request %d of client %d.", n, client)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.base+"/main/v1/messages", strings.NewReader(strings.Replace(helloBody, "Hello", name, 1)))
		if err != nil {
			t.Error(err)
			return
		}
		request.Header.Set("X-Api-Key", f.token)
		status, answer := 0, ""
		response, err := web.Do(request)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(response.Body)
			_ = response.Body.Close()
			status, answer = response.StatusCode, string(body)
		}
		f.mu.Lock()
		switch {
		case err == nil && status == 200 && answer == fixedAnswer:
			f.answered[name] = true
		case err == nil && status == 503, err != nil && m.killed.Load():
			f.refused++
		default:
			t.Errorf("%s: %d %s, %v", name, status, answer, err)
		}
		f.mu.Unlock()
	}
}

// records returns how often each request is recorded whole, by its name.
func (f *fleet) records(t *testing.T) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for line := range strings.Lines(f.must(t, "", "interceptions", "--json")) {
		var record struct {
			EndedAt *time.Time `json:"ended_at"`
			Prompts []struct {
				Prompt string `json:"prompt"`
			} `json:"prompts"`
			Usages []json.RawMessage `json:"token_usages"`
		}
		check(t, json.Unmarshal([]byte(line), &record))
		for _, prompt := range record.Prompts {
			if record.EndedAt != nil && len(record.Usages) == 1 {
				name, _, _ := strings.Cut(prompt.Prompt, " [[")
				counts[name]++
			}
		}
	}
	return counts
}

// TestFleet kills the control plane and a gateway under load, and starts them again: each answer that a client got whole is recorded
// once, and requests fail only where there is no control plane, or where their gateway is killed.
func TestFleet(t *testing.T) {
	f := newFleet(t, newCannedUpstream(t).URL)
	var clients sync.WaitGroup
	for client := range fleetClients {
		clients.Go(func() { f.send(t, client) })
	}
	last := f.members[fleetGateways-1]
	pause := func() { <-time.After(fleetPause) } // Work is done meanwhile.
	for range 2 {
		pause()
		check(t, f.running.Process.Kill())
		_ = f.running.Wait()
		pause()
		f.startControl(t)
	}
	pause()
	last.killed.Store(true)
	check(t, last.cmd.Process.Kill())
	_ = last.cmd.Wait()
	pause()
	last.start(t)
	for _, m := range f.members {
		m.becomes(t, 200, "ready")
	}
	pause()
	close(f.stop)
	clients.Wait()
	for _, m := range f.members {
		m.flushed(t)
	}
	recorded := f.records(t)
	lost, twice := 0, 0
	for name := range f.answered {
		if recorded[name] == 0 {
			lost++
		}
	}
	for _, n := range recorded {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d answers, %d requests that failed, %d records lost, %d twice", len(f.answered), f.refused, lost, twice)
	if lost > 0 || twice > 0 || len(f.answered) < 100 {
		t.Errorf("of %d answers, %d are not recorded and %d twice", len(f.answered), lost, twice)
	}
	for _, m := range f.members {
		(&running{cmd: m.cmd}).end(t, syscall.SIGTERM)
	}
	(&running{cmd: f.running}).end(t, syscall.SIGTERM)
}
