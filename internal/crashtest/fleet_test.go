package crashtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/postgres"
	"github.com/coder/aibridged/internal/postgrestest"
)

const (
	gateways      = 3
	fleetUsers    = 8
	fleetClients  = 64
	joinVariable  = "AIBRIDGED_JOIN_TOKEN"
	placeVariable = "AIBRIDGED_DATABASE_URL"
	keyVariable   = "CRASHTEST_KEY"
)

// fleet is several gateways behind a balancer, and a control plane over PostgreSQL. Gateways, control plane and database
// are processes of their own, with a relay in each connection between them.
type fleet struct {
	*stage

	program    program
	postgres   *postgrestest.Server
	toDatabase *relay
	control    *member
	members    []*gatewayMember
	balancer   *balancer
	clients    *http.Client // Through the balancer.
	probed     *httptest.Server
	users      map[string]string // A token of each user.
	outages    outages
	given      addresses
}

// member is a process of the fleet, and how it is started.
type member struct {
	role  string
	env   []string
	args  []string
	admin string // Where it tells operators how it does.

	running *process // Belongs to what kills and starts it.
}

// gatewayMember is a gateway of the fleet.
type gatewayMember struct {
	member

	number    int
	address   string
	records   string // The directory of its records.
	toControl *relay
	lives     []life // Belongs to what kills and starts it.
}

// newFleet makes a fleet and starts it. The test is skipped where no PostgreSQL is installed.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{postgres: postgrestest.New(t, postgrestest.Options{Durable: true}), users: map[string]string{}, given: addresses{}}
	f.stage = newEmptyStage(t)
	f.probed = newProbedUpstream(t)
	var err error
	f.program, err = buildProgram(f.ctx, f.dir)
	f.must(err)
	database, err := f.postgres.NewDatabase(f.ctx, "")
	f.must(err)
	db, err := postgres.Open(f.ctx, f.postgres.Address(database), postgres.Options{})
	f.must(err)
	f.useDatabase(db)
	for n := range fleetUsers {
		name := fmt.Sprintf("user%d", n)
		f.users[name] = f.newToken(name)
	}
	f.toDatabase = f.relayTo(f.postgres.Host())
	f.makeControl("postgres://postgres@" + f.toDatabase.address() + "/" + database + "?sslmode=disable")
	f.makeGateways()
	t.Cleanup(f.endAll)
	f.must(f.startControl(f.ctx))
	for _, g := range f.members {
		f.must(f.startGateway(g))
	}
	return f
}

func (f *fleet) newToken(name string) string {
	f.t.Helper()
	token, _, err := f.store.CreateToken(f.ctx, aibridgedserver.TokenParams{Username: name})
	f.must(err)
	return token
}

func (f *fleet) relayTo(address string) *relay {
	f.t.Helper()
	r, err := newRelayTo(address)
	f.must(err)
	f.t.Cleanup(r.close)
	return r
}

func (f *fleet) freeAddress(rng *rand.Rand) string {
	f.t.Helper()
	address, err := f.given.fixed(rng)
	f.must(err)
	return address
}

// makeControl says how the control plane is started, and what it is configured with.
func (f *fleet) makeControl(database string) {
	f.t.Helper()
	config, data := filepath.Join(f.dir, "control.yaml"), filepath.Join(f.dir, "control")
	text := fmt.Sprintf(`providers:
- {name: anthropic, type: anthropic, base_url: %q, keys: ["${%s}"]}
- {name: openai, type: openai, base_url: %q, keys: ["${%s}"]}
- {name: probed, type: anthropic, base_url: %q, keys: ["${%s}"]}
`, f.upstream.URL, keyVariable, f.upstream.URL+"/v1", keyVariable, f.probed.URL, keyVariable)
	f.must(os.WriteFile(config, []byte(text), 0o600))
	rng := f.chance.of("control plane's addresses")
	f.control = &member{
		role: "control", admin: f.freeAddress(rng),
		env: []string{placeVariable + "=" + database, keyVariable + "=the key that no upstream looks at"},
	}
	f.control.args = []string{
		"control", "--listen", f.freeAddress(rng), "--admin-listen", f.control.admin, "--console-listen", "off",
		"--data-dir", data, "--config", config,
	}
}

// makeGateways makes a join token, and says how the gateways are started, and the balancer in front of them.
func (f *fleet) makeGateways() {
	f.t.Helper()
	at := slices.Index(f.control.args, "--data-dir")
	token, err := f.program.output(f.ctx, f.control.env, "control", "join-token", f.control.args[at], f.control.args[at+1])
	f.must(err)
	listens := f.control.args[slices.Index(f.control.args, "--listen")+1]
	rng := f.chance.of("gateways' addresses")
	var addresses []string
	for n := range gateways {
		data := filepath.Join(f.dir, "gateway-"+strconv.Itoa(n))
		g := &gatewayMember{number: n, address: f.freeAddress(rng), records: filepath.Join(data, "records")}
		g.toControl = f.relayTo(listens)
		g.member = member{role: "gateway-" + strconv.Itoa(n), admin: f.freeAddress(rng), env: []string{joinVariable + "=" + token}}
		g.args = []string{
			"gateway", "--control", g.toControl.address(), "--listen", g.address, "--admin-listen", g.admin,
			"--data-dir", data, "--digests",
		}
		f.members, addresses = append(f.members, g), append(addresses, g.address)
	}
	f.balancer, err = newBalancer(addresses)
	f.must(err)
	f.t.Cleanup(f.balancer.close)
	transport := &http.Transport{DialContext: f.balancer.connect, DisableCompression: true, MaxIdleConnsPerHost: fleetClients}
	f.t.Cleanup(transport.CloseIdleConnections)
	f.clients = &http.Client{Transport: transport}
}

// launch starts a process of the fleet and does not wait until it is ready.
func (f *fleet) launch(p *member) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.starts++
	p.running = f.program.process(p.role, f.starts, f.logs(), p.env, p.args...)
	if err := p.running.start("aibridged"); err != nil {
		return err
	}
	f.processes = append(f.processes, p.running)
	return nil
}

// superviseEvery is the time after which a process that did not come up is started again.
const superviseEvery = 200 * time.Millisecond

// startControl starts the control plane, and once more whenever it does not come up, as what supervises it would: its
// database may be away.
func (f *fleet) startControl(ctx context.Context) error {
	for {
		if err := f.launch(f.control); err != nil {
			return err
		}
		err := f.control.running.awaitReady()
		if err == nil {
			return nil
		}
		select {
		case <-f.control.running.ended:
		default:
			return err
		}
		if !pause(ctx, superviseEvery) {
			return err
		}
	}
}

// startGateway begins a life of a gateway.
func (f *fleet) startGateway(g *gatewayMember) error {
	g.lives = append(g.lives, beginLife())
	if err := f.launch(&g.member); err != nil {
		return err
	}
	if err := g.running.awaitReady(); err != nil {
		return err
	}
	g.lives[len(g.lives)-1].isReady()
	return nil
}

// killGateway ends a life of a gateway.
func (f *fleet) killGateway(g *gatewayMember) error {
	return g.lives[len(g.lives)-1].kill(g.running)
}

// awaitQueues waits until all gateways have delivered all records.
func (f *fleet) awaitQueues() {
	f.t.Helper()
	for _, g := range f.members {
		f.await(deliverPatience, "delivery of all records", func() bool {
			pending, err := f.metric("http://"+g.admin+"/metrics", "aibridged_records_pending")
			f.must(err)
			return pending == 0
		})
	}
}

// stop ends all processes in good order.
func (f *fleet) stop() {
	f.t.Helper()
	var stopping sync.WaitGroup
	for _, g := range f.members {
		stopping.Go(func() {
			if err := g.lives[len(g.lives)-1].stop(g.running); err != nil {
				f.fail(err)
			}
		})
	}
	stopping.Wait()
	f.going()
	f.must(f.control.running.stop())
}
