package crashtest

import (
	"fmt"
	"slices"
	"testing"
)

// TestPowerLoss lets the power fail over the queue and the database together, before each step that a host takes
// between its first start and the end of its work, and through a restart: whatever was promised until then must be found
// at the next start, once and whole, each interception that is recorded must have its end, and that start must not fail.
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

// TestPowerLossAfterKill kills a host between a write and its sync, in the queue and in the database, and lets the power fail in its next life. What the
// first life wrote without a sync, the second one reads, so it must not take it for safe.
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

// losses are the power failures before one step. What breaks if anything does is mostly a queue that has all beside a
// database that has nothing, or the other way round.
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

// newLife returns a new machine, on which nothing has been promised.
func newLife(t *testing.T) (*machine, *promises) {
	t.Helper()
	m := newMachine(t.TempDir(), newPicture())
	return m, &promises{machine: m}
}

// nextLife has a host work on what a killed one left, for whom the cache is still there, and returns what is promised
// then.
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

// live has a machine start, work for some rounds, and stop.
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
