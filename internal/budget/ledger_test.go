package budget

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

// books is a source in memory. A token costs a dollar.
type books struct {
	mu       sync.Mutex
	groups   map[string][]string
	spent    map[Subject]Amount      // Of which counted is a part. Guarded by mu, like the fields around it.
	counted  map[uuid.UUID]Counted   // What is derived.
	cost     map[uuid.UUID]Amount    // What requests that have ended cost.
	of       map[uuid.UUID][]Subject // Who pays for an interception.
	reads    int                     // How often something was read.
	err      error                   // Why nothing can be read.
	slow     chan struct{}           // Not nil: readings wait until it is closed.
	unpriced map[string]bool         // Models.
	free     map[string]bool
}

func newBooks() *books {
	return &books{
		groups: map[string][]string{}, spent: map[Subject]Amount{}, counted: map[uuid.UUID]Counted{}, cost: map[uuid.UUID]Amount{},
		of: map[uuid.UUID][]Subject{}, unpriced: map[string]bool{}, free: map[string]bool{},
	}
}

func (b *books) Groups(_ context.Context, user string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.groups[user], b.err
}

func (b *books) Spent(_ context.Context, of Budget, ids []uuid.UUID) (Snapshot, error) {
	b.mu.Lock()
	slow := b.slow
	b.mu.Unlock()
	if slow != nil {
		<-slow
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	day := time.Now().UTC().Truncate(24 * time.Hour)
	s := Snapshot{From: day, To: day.Add(24 * time.Hour), Spent: b.spent[of.Subject], Counted: map[uuid.UUID]Counted{}}
	for _, id := range ids {
		if c, ok := b.counted[id]; ok {
			s.Counted[id] = c
		}
	}
	return s, b.err
}

func (b *books) Rates(r Request) (Rates, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free[r.Model] {
		return Rates{Tiers: []Rate{{}}}, true
	}
	return Rates{Tiers: []Rate{{0, 0, Dollar}}}, !b.unpriced[r.Model]
}

func (b *books) Cost(_ Request, e Ending) Amount { return Amount(e.Usages[0].Output) * Dollar }

// derive counts what an interception cost, for everybody who pays for it.
func (b *books) derive(id uuid.UUID, cost Amount, over bool, of ...Subject) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range of {
		b.spent[s] += cost - b.counted[id].Cost
	}
	b.counted[id] = Counted{cost, over}
}

var (
	ada = Subject{User, "ada"}
	red = Subject{Group, "red"}
)

func budgetOf(of Subject, dollars Amount) Budget {
	return Budget{Subject: of, Name: of.ID, Period: "day", Limit: dollars * Dollar}
}

// desk is a ledger with the requests that came to it.
type desk struct {
	*Ledger
	*books

	warnings []string
	next     int64
}

func newDesk(budgets ...Budget) *desk {
	d := &desk{books: newBooks()}
	d.Ledger = NewLedger(d.books, Options{Warn: func(w Warning) {
		d.warnings = append(d.warnings, fmt.Sprint(w.Budget.ID, " ", w.Spent, " ", w.All))
	}})
	d.SetBudgets(budgets)
	return d
}

// ask reserves tokens for a user, at a gateway.
func (d *desk) ask(gateway, user string, tokens int64) (Origin, Request, Grant, error) {
	d.next++
	origin := Origin{gateway, d.next}
	r := Request{Interception: uuid.New(), User: user, Started: time.Now(), Model: "claude-opus-4-6", MaxTokens: tokens}
	grant, err := d.Reserve(context.Background(), origin, r)
	return origin, r, grant, err
}

func (d *desk) enter(t *testing.T, user string, tokens int64) (Origin, Request) {
	t.Helper()
	origin, r, _, err := d.ask("", user, tokens)
	if err != nil {
		t.Fatalf("%s was refused: %v", user, err)
	}
	return origin, r
}

func (d *desk) mustRefuse(t *testing.T, user string, tokens int64, want Reason) *Refusal {
	t.Helper()
	_, _, _, err := d.ask("", user, tokens)
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok || refusal.Reason != want {
		t.Fatalf("%s: %v, want %s", user, err, want)
	}
	return refusal
}

func used(tokens int64) Ending { return Ending{Usages: []Usage{{Output: tokens}}} }

// wait lets what was read grow old.
func wait() { time.Sleep(readEvery + time.Millisecond) }

// atRest checks that nothing is held.
func (d *desk) atRest(t *testing.T) {
	t.Helper()
	if s := d.State(); s.Held != 0 || s.Waiting != 0 || s.Requests != 0 || len(d.ended) != 0 {
		t.Errorf("at rest: %+v, %d have ended", s, len(d.ended))
	}
	for _, a := range d.accounts {
		if len(a.holds) != 0 || a.running != 0 || a.held != (total{}) || a.settled != (total{}) {
			t.Errorf("the account of %s holds %+v", a.budget.Whose(), a)
		}
	}
}

// Point 12: a budget that is spent refuses, until its period ends or its limit is raised. Point 15: what was spent stays.
func TestSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 10))
		d.derive(uuid.New(), 10*Dollar-1, true, ada)
		origin, r := d.enter(t, "ada", 1000) // A little is left, and nothing is held.
		d.End(origin, used(4))
		refusal := d.mustRefuse(t, "ada", 1, Spent)
		if refusal.Spent != 14*Dollar-1 || refusal.Held != 0 || refusal.RetryAfter() < 61*time.Second || !refusal.End.Equal(refusal.Now.Add(refusal.RetryAfter())) {
			t.Errorf("%+v, wait %s", refusal, refusal.RetryAfter())
		}
		d.enter(t, "bob", 1) // Who has no budget.
		d.derive(r.Interception, 4*Dollar, true, ada)
		wait()
		if refusal := d.mustRefuse(t, "ada", 1, Spent); refusal.Spent != 14*Dollar-1 {
			t.Errorf("it is counted once, but spent is %s", refusal.Spent)
		}
		d.atRest(t)
		d.SetBudgets([]Budget{budgetOf(ada, 15)})
		origin, _ = d.enter(t, "ada", 1)
		d.End(origin, Ending{})
		d.SetBudgets([]Budget{budgetOf(ada, 14)})
		origin, _ = d.enter(t, "ada", 1)
		d.End(origin, Ending{})
		week := budgetOf(ada, 13)
		week.Period = "week"
		d.SetBudgets([]Budget{week})
		d.mustRefuse(t, "ada", 1, Spent)
		d.SetBudgets(nil)
		d.enter(t, "ada", 1)
		if d.Any() {
			t.Error("there are budgets")
		}
		d.atRest(t)
	})
}

// Point 13: while requests run, what they may cost is held, and a request that does not fit beside them is refused as held.
func TestHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 100))
		first, _ := d.enter(t, "ada", 60)
		second, _ := d.enter(t, "ada", 40)
		refusal := d.mustRefuse(t, "ada", 1, Held)
		if refusal.Held != 100*Dollar || refusal.Spent != 0 || refusal.Estimate != Dollar || refusal.RetryAfter() > time.Minute || refusal.RetryAfter() < 5*time.Second {
			t.Errorf("%+v, wait %s", refusal, refusal.RetryAfter())
		}
		d.End(first, used(2))
		third, _ := d.enter(t, "ada", 58)
		d.mustRefuse(t, "ada", 1, Held)
		d.End(second, Ending{}) // It failed.
		d.End(second, used(50)) // It has ended.
		fourth, _ := d.enter(t, "ada", 40)
		d.End(third, Ending{})
		d.End(fourth, Ending{})
		if s := d.State(); s.Held != 0 || s.Waiting != 2*Dollar {
			t.Errorf("%+v", s)
		}
		time.Sleep(keepEnded) // Nobody has read what the first one cost.
		d.Tick(t.Context())
		d.atRest(t)
	})
}

// A budget that is smaller than what one request may cost can be used, by one request at a time.
func TestSmallBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 5))
		for n := range 5 {
			origin, _ := d.enter(t, "ada", 64_000)
			d.mustRefuse(t, "ada", 1, Held)
			d.End(origin, used(1))
			if n == 4 {
				d.mustRefuse(t, "ada", 64_000, Spent)
			}
		}
	})
}

// Point 13: an agent that asks for 64,000 tokens each time, one request after another, is never refused because of its own
// earlier requests, whose costs wait to be derived, also if answers of them were cut.
func TestSequentialAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 64_500))
		var ids []uuid.UUID
		for n := range 300 {
			origin, r := d.enter(t, "ada", 64_000)
			ids = append(ids, r.Interception)
			ending := used(1)
			if n%3 == 2 {
				ending = Ending{Unmeasured: true}
			}
			d.End(origin, ending)
			time.Sleep(time.Second / 7)
			if n == 150 {
				for _, id := range ids {
					d.derive(id, Dollar, true, ada)
				}
			}
		}
		for _, id := range ids {
			d.derive(id, Dollar, true, ada)
		}
		wait()
		d.Tick(t.Context())
		d.atRest(t)
	})
}

// What is derived of a request while it runs, or before the ledger hears of its end, is counted once.
func TestCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 100))
		origin, r := d.enter(t, "ada", 50)
		d.derive(r.Interception, 20*Dollar, false, ada) // The first of several rounds.
		wait()
		if refusal := d.mustRefuse(t, "ada", 31, Held); refusal.Spent != 20*Dollar || refusal.Held != 50*Dollar {
			t.Errorf("%+v", refusal)
		}
		d.End(origin, used(25))
		if s := d.State(); s.Held != 0 || s.Waiting != 5*Dollar {
			t.Errorf("%+v", s)
		}
		d.derive(r.Interception, 25*Dollar, true, ada)
		wait()
		d.Tick(t.Context())
		d.atRest(t)

		origin, r = d.enter(t, "ada", 50)
		d.derive(r.Interception, 30*Dollar, true, ada) // A gateway's records may come before its word.
		wait()
		d.Tick(t.Context())
		second, _ := d.enter(t, "ada", 45)
		if s := d.State(); s.Held != 45*Dollar {
			t.Errorf("%+v", s)
		}
		d.End(second, Ending{})
		d.End(origin, used(30))
		d.atRest(t)
	})
}

// Point 15: a request has to be allowed by the user's budget and by those of all of the user's groups, and the tightest refusal
// is told.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 100), budgetOf(red, 50), budgetOf(Subject{Group, "blue"}, 1))
		d.books.groups["ada"], d.books.groups["bob"] = []string{"red", "green"}, []string{"red"}
		first, r := d.enter(t, "ada", 50)
		if refusal := d.mustRefuse(t, "bob", 1, Held); refusal.Budget.Subject != red {
			t.Errorf("%+v", refusal)
		}
		if refusal := d.mustRefuse(t, "ada", 60, Held); refusal.Budget.Subject != red {
			t.Errorf("%+v", refusal)
		}
		d.End(first, used(50))
		if refusal := d.mustRefuse(t, "bob", 1, Spent); refusal.Budget.Subject != red {
			t.Errorf("%+v", refusal)
		}
		d.derive(r.Interception, 50*Dollar, true, ada, red)
		wait()
		d.mustRefuse(t, "bob", 1, Spent)
		wait()
		d.Tick(t.Context())
		d.atRest(t)
		d.books.mu.Lock()
		d.books.groups["bob"] = nil
		d.books.mu.Unlock()
		wait()
		d.enter(t, "bob", 1)
	})
}

// Point 14: a request whose price is not known is refused for somebody who has a budget, one that is free is let in even if the
// budget is spent.
func TestUnpricedAndFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 1))
		d.unpriced["new"], d.free["own"] = true, true
		ask := func(user, model string) error {
			d.next++
			_, err := d.Reserve(t.Context(), Origin{"", d.next}, Request{User: user, Model: model, Started: time.Now()})
			return err
		}
		refusal, ok := errors.AsType[*Refusal](ask("ada", "new"))
		if !ok || refusal.Reason != Unpriced || refusal.Model != "new" || refusal.RetryAfter() < 61*time.Second {
			t.Errorf("%+v", refusal)
		}
		if err := ask("bob", "new"); err != nil {
			t.Error(err)
		}
		d.derive(uuid.New(), Dollar, true, ada)
		wait()
		if refusal, ok := errors.AsType[*Refusal](ask("ada", "new")); !ok || refusal.Reason != Spent {
			t.Errorf("%+v", refusal)
		}
		if err := ask("ada", "own"); err != nil {
			t.Error(err)
		}
		d.atRest(t)
	})
}

// Concurrent requests share a reading, and one that leaves harms no other.
func TestReadingsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 1000))
		d.slow = make(chan struct{})
		var group sync.WaitGroup
		leaving, leave := context.WithCancel(t.Context())
		group.Go(func() {
			_, _ = d.Reserve(leaving, Origin{"", -1}, Request{User: "ada", MaxTokens: 1, Started: time.Now()})
		})
		synctest.Wait()
		results := make([]error, 50)
		for n := range results {
			group.Go(func() {
				_, results[n] = d.Reserve(t.Context(), Origin{"", int64(n)}, Request{User: "ada", MaxTokens: 1, Started: time.Now()})
			})
		}
		gone, goAway := context.WithCancel(t.Context())
		var left error
		group.Go(func() { _, left = d.Reserve(gone, Origin{"", -2}, Request{User: "ada"}) })
		synctest.Wait()
		leave()
		goAway()
		synctest.Wait()
		if !errors.Is(left, context.Canceled) {
			t.Errorf("who has left got %v", left)
		}
		close(d.slow)
		group.Wait()
		for _, err := range results {
			if err != nil {
				t.Error(err)
			}
		}
		if d.reads != 1 {
			t.Errorf("%d readings", d.reads)
		}
	})
}

// What cannot be read is as it was, and a request is refused as held, not with an error, if it never could.
func TestFailingSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 10), budgetOf(red, 10))
		failed := 0
		d.options.Failed = func(error) { failed++ }
		fail := func(err error) {
			d.books.mu.Lock()
			defer d.books.mu.Unlock()
			d.books.err = err
		}
		fail(errors.New("no database"))
		for range 3 {
			if refusal := d.mustRefuse(t, "ada", 1, Unknown); refusal.Final() || refusal.RetryAfter() > time.Minute {
				t.Errorf("%+v", refusal)
			}
		}
		fail(nil)
		wait()
		origin, _ := d.enter(t, "ada", 10)
		fail(errors.New("no database"))
		wait()
		d.mustRefuse(t, "ada", 1, Held)
		d.End(origin, used(4))
		origin, _ = d.enter(t, "ada", 100)
		d.End(origin, used(6))
		d.mustRefuse(t, "ada", 1, Spent)
		if failed != 2 {
			t.Errorf("it is told %d times", failed)
		}
		time.Sleep(24 * time.Hour) // What was known is of another day.
		d.mustRefuse(t, "ada", 1, Unknown)
		fail(nil)
		wait()
		d.enter(t, "ada", 1)
	})
}

// A new period begins with nothing spent, and what is held for requests of the last one is not held in it.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 10))
		origin, _ := d.enter(t, "ada", 10)
		d.mustRefuse(t, "ada", 1, Held)
		refusal := d.mustRefuse(t, "ada", 1, Held)
		time.Sleep(time.Until(refusal.End))
		second, _ := d.enter(t, "ada", 10)
		if held := d.Held(ada); held != 10*Dollar {
			t.Errorf("held is %s", held)
		}
		d.End(origin, used(10))
		if s := d.State(); s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		d.End(second, Ending{})
		d.enter(t, "ada", 1)
	})
}

// A period that changes while it is read is read anew.
func TestPeriodChangesMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 10))
		d.slow = make(chan struct{})
		var err error
		go func() { _, _, _, err = d.ask("", "ada", 1) }()
		synctest.Wait()
		week := budgetOf(ada, 10)
		week.Period = "week"
		d.SetBudgets([]Budget{week})
		close(d.slow)
		synctest.Wait()
		if err != nil || d.reads != 2 {
			t.Errorf("%v after %d readings", err, d.reads)
		}
	})
}

// It is told once when four fifths are spent, and once when all is, in each period.
func TestWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 10))
		look := func(want ...string) {
			t.Helper()
			for range 3 {
				wait()
				if origin, _, _, err := d.ask("", "ada", 1); err == nil {
					d.End(origin, Ending{})
				}
			}
			if !slices.Equal(d.warnings, want) {
				t.Errorf("told %q, want %q", d.warnings, want)
			}
			d.warnings = nil
		}
		d.derive(uuid.New(), 7*Dollar, true, ada)
		look()
		d.derive(uuid.New(), 1*Dollar, true, ada)
		look("ada $8.00 false")
		if s := d.State(); s.Near != 1 || s.Below+s.Spent != 0 {
			t.Errorf("%+v", s)
		}
		d.derive(uuid.New(), 3*Dollar, true, ada)
		look("ada $11.00 true")
		d.SetBudgets([]Budget{budgetOf(ada, 20)})
		look()
		d.SetBudgets([]Budget{budgetOf(ada, 11)})
		look("ada $11.00 true")
		time.Sleep(24 * time.Hour)
		look("ada $11.00 true")
	})
}

// What a gateway has that falls silent counts as ended, and counts by what it may have cost. If the gateway comes back, it says
// what it was.
func TestSilentGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 100))
		d.Hear("a")
		origin, r, _, err := d.ask("a", "ada", 90)
		if err != nil {
			t.Fatal(err)
		}
		d.mustRefuse(t, "ada", 50, Held)
		time.Sleep(SilentAfter)
		d.Hear("b")
		d.enter(t, "ada", 50) // Nothing runs any longer.
		if held := d.Held(ada); held != 140*Dollar {
			t.Errorf("held is %s", held)
		}
		d.Hear("a")
		d.End(origin, used(7))
		if s := d.State(); s.Held != 50*Dollar || s.Waiting != 7*Dollar {
			t.Errorf("%+v", s)
		}
		d.derive(r.Interception, 7*Dollar, true, ada)
		wait()
		d.Tick(t.Context())
		if s := d.State(); s.Waiting != 0 || s.Requests != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A client that asks one gateway after another is not refused because the news that its last request has ended is a moment late.
func TestNewsThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 10))
		first, _, _, err := d.ask("a", "ada", 10)
		if err != nil {
			t.Fatal(err)
		}
		var second Origin
		go func() { second, _, _, err = d.ask("b", "ada", 10) }()
		time.Sleep(newsWithin / 2)
		d.End(first, used(1))
		synctest.Wait()
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, _, _, err := d.ask("a", "ada", 10); err == nil || time.Since(began) != newsWithin {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		gone, leave := context.WithTimeout(t.Context(), newsWithin/2)
		defer leave()
		if _, err := d.Reserve(gone, Origin{"a", 99}, Request{User: "ada", Started: time.Now()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		d.End(second, Ending{})
	})
}

// A gateway leases a twentieth of what is left, for a minute. The others cannot spend that meanwhile, but while nothing runs.
func TestLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(budgetOf(ada, 100))
		first, _, grant, err := d.ask("a", "ada", 20)
		if err != nil || len(grant.Leases) != 1 || grant.Leases[0].Amount != 4*Dollar || grant.Leases[0].Budget.Subject != ada || grant.Rates.Tiers[0].Output != Dollar {
			t.Fatal(grant, err)
		}
		_, _, _, err = d.ask("b", "ada", 77)
		if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Reason != Held || refusal.Held != 24*Dollar {
			t.Errorf("another gateway got %v", err)
		}
		second, _, grant, err := d.ask("a", "ada", 80)
		if err != nil || grant.Leases[0].Amount != 0 {
			t.Errorf("the gateway itself got %+v, %v", grant, err)
		}
		d.End(first, Ending{})
		d.End(second, Ending{})
		first, _, _, err = d.ask("a", "ada", 1)
		if err != nil {
			t.Fatal(err)
		}
		d.End(first, Ending{})
		if _, _, _, err := d.ask("b", "ada", 1000); err != nil { // Nothing runs.
			t.Error(err)
		}
		time.Sleep(LeaseSpan)
		if a := d.accounts[ada]; a.leased("", time.Now()) != 0 || len(a.leases) != 0 {
			t.Errorf("%v", a.leases)
		}
	})
}

// Points 12 and 13: with 64 clients at a time, what was spent and what is held are together never more than the limit, but for
// one request that was let in alone, and afterwards nothing is held.
func TestManyAtATime(t *testing.T) { synctest.Test(t, testManyAtATime) }

func testManyAtATime(t *testing.T) {
	const limit, clients, largest = 200, 64, 9
	d := newDesk(budgetOf(ada, limit), budgetOf(red, 10*limit))
	d.books.groups["ada"] = []string{"red"}
	var letIn, cost, together atomic.Int64
	var most Amount
	look := func() {
		d.Ledger.mu.Lock()
		defer d.Ledger.mu.Unlock()
		a := d.accounts[ada]
		sum := a.spent() + a.held.amount()
		if a.running > 1 {
			together.Add(1)
			most = max(most, sum)
		}
		if a.running > 1 && sum > limit*Dollar || sum > (limit+largest)*Dollar {
			t.Errorf("%d requests are running, and %s are spent or held", a.running, sum)
		}
	}
	var group sync.WaitGroup
	for client := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(client)))
			for n := range 40 {
				tokens := 1 + random.Int64N(largest)
				origin := Origin{"", int64(client*1000 + n)}
				r := Request{Interception: uuid.New(), User: "ada", Started: time.Now(), MaxTokens: tokens}
				_, err := d.Reserve(t.Context(), origin, r)
				look()
				if err != nil {
					if _, ok := errors.AsType[*Refusal](err); !ok {
						t.Error(err)
					}
					continue
				}
				letIn.Add(1)
				time.Sleep(time.Duration(1+random.IntN(20)) * time.Millisecond) // The others ask meanwhile.
				n1 := random.Int64N(tokens + 1)
				cost.Add(n1)
				d.End(origin, used(n1))
				if n%3 == 0 {
					d.derive(r.Interception, Amount(n1)*Dollar, true, ada, red)
					d.Tick(t.Context())
				} else {
					defer d.derive(r.Interception, Amount(n1)*Dollar, true, ada, red)
				}
			}
		})
	}
	group.Wait()
	if cost.Load() < limit || cost.Load() > limit+largest || together.Load() == 0 || most < limit/2*Dollar {
		t.Errorf("%d requests cost %d of %d, up to %s at a time", letIn.Load(), cost.Load(), limit, most)
	}
	for _, a := range d.accounts {
		a.triedAt = time.Time{}
	}
	d.Tick(t.Context())
	d.atRest(t)
	if s := d.spentOf(ada); s != Amount(cost.Load())*Dollar {
		t.Errorf("spent is %s, want %d", s, cost.Load())
	}
}

func (b *books) spentOf(of Subject) Amount {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spent[of]
}

// What a ledger remembers is bounded.
func TestMembersAreBounded(t *testing.T) {
	d := newDesk(budgetOf(red, 1))
	for n := range mostMembers + 10 {
		if _, err := d.Reserve(t.Context(), Origin{}, Request{User: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(slices.Collect(maps.Keys(d.Ledger.members))); n > mostMembers {
		t.Errorf("%d users are remembered", n)
	}
}

// Without budgets, a request costs nothing.
func TestNoBudgets(t *testing.T) {
	d := newDesk()
	r := Request{User: "ada", Model: "m"}
	n := testing.AllocsPerRun(100, func() {
		if grant, err := d.Reserve(context.Background(), Origin{}, r); err != nil || grant.Limited {
			t.Error(grant, err)
		}
		d.End(Origin{}, Ending{})
	})
	if n != 0 || d.reads != 0 {
		t.Errorf("%v allocations, %d readings", n, d.reads)
	}
}
