package crashtest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/coder/aibridged/internal/outbox"
)

// TestPowerLoss simulates power failures over the queue and the database together, before each step of a host from its
// first start through its work and a restart. The next start must not fail, and must find everything that was promised
// before the failure, once and whole, and an end for each interception that is recorded.
func TestPowerLoss(t *testing.T) {
	chance := newChance(t)
	m, p := newLife(t)
	live(t, m, p, 4)
	live(t, m, p, 1)
	checkDatabaseSteps(t, m)
	c := newCuts(t)
	c.at("two lives", m, p, losses, chance.of("power"))
	c.done()
}

// TestPowerLossKernel is TestPowerLoss with records that are synced later. Some may be lost, but of no interception the end
// only.
func TestPowerLossKernel(t *testing.T) {
	chance := newChance(t)
	m, p := newLife(t)
	m.durability = outbox.Kernel
	live(t, m, p, 3)
	live(t, m, p, 1)
	c := newCuts(t)
	c.at("two lives", m, p, losses, chance.of("power"))
	c.done()
}

// TestPowerLossAfterKill kills a host between a write and its sync, in the queue and in the database, and lets the
// power fail in its next life. The second life reads what the first wrote without a sync, and must not take it for
// safe.
func TestPowerLossAfterKill(t *testing.T) {
	chance := newChance(t)
	m, p := newLife(t)
	live(t, m, p, 3)
	rng := chance.of("power")
	var kills []int
	for _, isQueue := range []bool{true, false} {
		unsynced := m.unsynced(isQueue)
		rng.Shuffle(len(unsynced), func(a, b int) { unsynced[a], unsynced[b] = unsynced[b], unsynced[a] })
		kills = append(kills, unsynced[:min(len(unsynced), option[int]("power-kills"))]...)
	}
	c := newCuts(t)
	now := m.begin.clone()
	for n, s := range m.all() {
		if slices.Contains(kills, n) {
			next := nextLife(t, now.clone(), p.before(n))
			c.at(fmt.Sprintf("killed before step %d of %d", n, len(m.all())), next.machine, next, losses, rng)
		}
		now.apply(s)
	}
	c.done()
}

// losses returns the power failures to try before one step. The pairs that break most are a queue that keeps all unsynced
// changes with a database that loses all, and the other way round.
func losses(step int) []loss {
	all := []loss{{kept, lost}, {lost, lost}}
	random := option[int]("losses")
	if step%4 == 0 {
		all = append(all, loss{lost, kept})
		random = max(random, 1)
	}
	for range random {
		all = append(all, loss{mixed, mixed})
	}
	if option[int]("losses") > 0 {
		all = append(all, loss{lost, kept}, loss{mixed, lost}, loss{kept, mixed})
	}
	return all
}

// newLife returns a new machine without promises.
func newLife(t *testing.T) (*machine, *promises) {
	t.Helper()
	m := newMachine(t.TempDir(), newPicture())
	return m, &promises{machine: m}
}

// nextLife runs a host on the files of a killed one, whose cache is still there, and returns the promises after that.
func nextLife(t *testing.T, now picture, made []promise) *promises {
	t.Helper()
	root := t.TempDir()
	if err := now.after(loss{kept, kept}, nil).write(root); err != nil {
		t.Fatal(err)
	}
	p := &promises{machine: newMachine(root, now)}
	for _, m := range made {
		p.made = append(p.made, promise{m.kind, m.id, 0})
	}
	live(t, p.machine, p, 1)
	return p
}

// live starts a host on the machine, lets it work for some rounds, and stops it.
func live(t *testing.T, m *machine, p *promises, rounds int) {
	t.Helper()
	h, err := startHost(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.work(t.Context(), p, rounds); err != nil {
		t.Error(err)
	}
	// The last interception is cut by the host's end, which asks for all to be delivered before anybody asks for its sync.
	if _, _, err := h.start(t.Context()); err != nil {
		t.Error(err)
	}
	if err := h.stop(); err != nil {
		t.Error(err)
	}
}
