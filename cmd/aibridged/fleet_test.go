package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/aibridged/internal/postgrestest"
)

const (
	fleetGateways = 3
	// longestFault is how long a part of a fleet is away at most, and how long nothing is wrong then.
	longestFault = 2 * time.Second
	// promised is how soon a gateway is ready again once all parts are there and connections work.
	promised = 10 * time.Second
)

// fleet is a control plane and several gateways, as processes, under load. Each gateway reaches the control plane through a
// proxy of the test.
type fleet struct {
	*apart

	config   string
	running  *exec.Cmd // The control plane.
	database *postgrestest.Server
	members  []*member
	tokens   map[string]string // By the user's name.
	stop     chan struct{}     // Closed when clients are to send nothing more.
	coming   []string          // The faults that are made next.
	faults   map[string]int    // How often each was made.

	mu       sync.Mutex
	answered map[string]string // Whose each request was that was answered with 200, whole, by its name. Guarded by mu.
	refused  int               // Guarded by mu.
	broken   int               // Requests whose connection broke. Guarded by mu.
}

// member is a gateway of a fleet.
type member struct {
	served

	args    []string
	cmd     *exec.Cmd
	between *hole
	kills   atomic.Int64 // How often it was killed. Odd: it does not run.
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

// fleetPrompt finds the name of a request in its body.
var fleetPrompt = regexp.MustCompile(`request \d+ of client \d+\.`)

// fleetAnswer is what the upstream answers to a request of a name.
func fleetAnswer(name string) string {
	return strings.Replace(fixedAnswer, "Hi", name, 1)
}

// newFleet starts a fleet whose gateways are ready. The database may be nil, which is SQLite.
func newFleet(t *testing.T, database *postgrestest.Server) *fleet {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, fleetAnswer(fleetPrompt.FindString(string(body))))
	}))
	t.Cleanup(upstream.Close)
	f := &fleet{
		apart: newApart(t), config: configFile(t, providerText("main", upstream.URL)), database: database, tokens: map[string]string{},
		stop: make(chan struct{}), faults: map[string]int{}, answered: map[string]string{},
	}
	f.startControl(t)
	for _, user := range []string{"ada", "bob"} {
		f.tokens[user] = strings.TrimSpace(f.must(t, "", "token", "create", "--user", user))
	}
	for range fleetGateways {
		m := &member{served: served{data: t.TempDir()}, between: newHole(t, f.control)}
		m.args = []string{
			"gateway", "--control", m.between.listener.Addr().String(), "--listen", freeAddress(t), "--admin-listen", freeAddress(t), "--data-dir", m.data,
		}
		m.start(t)
		f.members = append(f.members, m)
	}
	f.areReady(t)
	return f
}

func (f *fleet) areReady(t *testing.T) {
	t.Helper()
	for _, m := range f.members {
		for deadline := time.Now().Add(promised + soon); ; {
			status, answer := m.get(t, "/readyz")
			if status == 200 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("/readyz: %d %s", status, answer)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
}

// send is a client: it sends requests of a user to one gateway after another, each with a name of its own, until it is to stop.
func (f *fleet) send(t *testing.T, client int) {
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer web.CloseIdleConnections()
	user := []string{"ada", "bob"}[client%2]
	for n := 0; ; n++ {
		select {
		case <-f.stop:
			return
		default:
		}
		m, name := f.members[(client+n)%len(f.members)], fmt.Sprintf("request %d of client %d.", n, client)
		kills := m.kills.Load()
		status, answer, err := sendTo(t, web, m.base, f.tokens[user], name)
		wasKilled := kills%2 == 1 || m.kills.Load() != kills
		f.mu.Lock()
		switch {
		case err == nil && status == 200 && answer == fleetAnswer(name):
			f.answered[name] = user
		case err == nil && status == 503:
			f.refused++
		case err != nil && wasKilled:
			f.broken++
		default:
			t.Errorf("%s: %d %s, %v", name, status, answer, err)
		}
		f.mu.Unlock()
		if status != 200 { // A client that waits leaves the machine to those that need it.
			<-time.After(20 * time.Millisecond)
		}
	}
}

// sendTo sends a request of a name.
func sendTo(t *testing.T, web *http.Client, base, token, name string) (status int, answer string, err error) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/main/v1/messages", strings.NewReader(strings.Replace(helloBody, "Hello", name, 1)))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("X-Api-Key", token)
	response, err := web.Do(request)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), errors.Join(err, response.Body.Close())
}

// nextFault returns what is to fail next. All come in turn, in an order that is another one each time.
func (f *fleet) nextFault() string {
	if len(f.coming) == 0 {
		f.coming = []string{"control plane killed", "gateway killed", "connection cut", "connection swallowed"}
		if f.database != nil {
			f.coming = append(f.coming, "database killed")
		}
		rand.Shuffle(len(f.coming), func(i, j int) { f.coming[i], f.coming[j] = f.coming[j], f.coming[i] })
	}
	next := f.coming[0]
	f.coming = f.coming[1:]
	return next
}

// fail makes a fault, and mends it after a while.
func (f *fleet) fail(t *testing.T) {
	t.Helper()
	last := func() { <-time.After(rand.N(longestFault)) } // Clients go on meanwhile.
	m, fault := f.members[rand.IntN(len(f.members))], f.nextFault()
	f.faults[fault]++
	switch fault {
	case "control plane killed":
		check(t, f.running.Process.Kill())
		_ = f.running.Wait()
		last()
		f.startControl(t)
	case "gateway killed":
		m.kills.Add(1)
		check(t, m.cmd.Process.Kill())
		_ = m.cmd.Wait()
		last()
		m.start(t)
		m.kills.Add(1)
	case "connection cut":
		m.between.cut()
	case "connection swallowed":
		m.between.swallow()
	case "database killed":
		check(t, f.database.Kill())
		last()
		check(t, f.database.Restart())
	}
	last()
}

// fleetRecord is what a test needs of a record.
type fleetRecord struct {
	Initiator string     `json:"initiator"`
	EndedAt   *time.Time `json:"ended_at"`
	Prompts   []struct {
		Prompt string `json:"prompt"`
	} `json:"prompts"`
	Usages []json.RawMessage `json:"token_usages"`
}

// records returns whose each request is that is recorded whole, by its name, and how many are recorded twice.
func (f *fleet) records(t *testing.T) (recorded map[string]string, twice int) {
	t.Helper()
	recorded = map[string]string{}
	for line := range strings.Lines(f.must(t, "", "interceptions", "--json", "--limit", "0")) {
		var record fleetRecord
		check(t, json.Unmarshal([]byte(line), &record))
		if record.EndedAt == nil || len(record.Usages) != 1 || len(record.Prompts) != 1 {
			continue
		}
		name := fleetPrompt.FindString(record.Prompts[0].Prompt)
		if recorded[name] != "" {
			twice++
		}
		recorded[name] = record.Initiator
	}
	return recorded, twice
}

// TestFleet kills and cuts off parts of a fleet at random, under load: each answer that a client got whole is recorded once and as
// its user's, and requests fail only with 503, or where their gateway is killed.
func TestFleet(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { testFleet(t, nil) })
	t.Run("PostgreSQL", func(t *testing.T) {
		server := newPostgres(t)
		t.Setenv(databaseVariable, server.Address("postgres"))
		testFleet(t, server)
	})
}

func option[T any](name string) T { return flag.Lookup(name).Value.(flag.Getter).Get().(T) }

func testFleet(t *testing.T, database *postgrestest.Server) {
	f := newFleet(t, database)
	var clients sync.WaitGroup
	for client := range option[int]("fleet-clients") {
		clients.Go(func() { f.send(t, client) })
	}
	for until := time.Now().Add(option[time.Duration]("fleet")); time.Now().Before(until); {
		f.fail(t)
	}
	f.areReady(t)
	<-time.After(longestFault / 2) // All is well again, and work is done.
	close(f.stop)
	clients.Wait()
	for _, m := range f.members {
		m.flushed(t)
	}
	recorded, twice := f.records(t)
	lost, others := 0, 0
	for name, user := range f.answered {
		switch recorded[name] {
		case user:
		case "":
			lost++
		default:
			others++
		}
	}
	t.Logf("%v: %d answers; %d requests got 503, %d broke with their gateway; %d records lost, %d twice, %d of another user",
		f.faults, len(f.answered), f.refused, f.broken, lost, twice, others)
	if lost+twice+others > 0 || len(f.answered) < 100 {
		t.Errorf("of %d answers, %d are not recorded, %d twice, %d as another user's", len(f.answered), lost, twice, others)
	}
	for _, m := range f.members {
		(&running{cmd: m.cmd}).end(t, syscall.SIGTERM)
	}
	(&running{cmd: f.running}).end(t, syscall.SIGTERM)
}
