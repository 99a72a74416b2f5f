package keys

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// poolOf returns a pool of keys with these secrets. A secret "a@x" is of account x.
func poolOf(book *Book, secrets ...string) *Pool { return book.Pool("p", keysOf(secrets...)) }

func keysOf(secrets ...string) []Key {
	keys := make([]Key, 0, len(secrets))
	for _, secret := range secrets {
		key := Key{Secret: secret}
		if at := slices.Index([]byte(secret), '@'); at >= 0 {
			key.Account = secret[at+1:]
		}
		keys = append(keys, key)
	}
	return keys
}

// choose fails the test unless a key is ready.
func choose(t *testing.T, p *Pool, ask Ask) Choice {
	t.Helper()
	choice, err := p.Choose(ask)
	if err != nil {
		t.Fatalf("choose for %+v: %v", ask, err)
	}
	return choice
}

// mustRest fails the test unless no key is ready.
func mustRest(t *testing.T, p *Pool, ask Ask, want Resting) {
	t.Helper()
	choice, err := p.Choose(ask)
	if resting, ok := errors.AsType[*Resting](err); !ok || *resting != want {
		t.Fatalf("choose for %+v: %q, %v, want %+v", ask, choice.Secret, err, want)
	}
}

func limited(retryAfter string) Answer {
	answer := Answer{Status: http.StatusTooManyRequests, Header: http.Header{}}
	if retryAfter != "" {
		answer.Header.Set("Retry-After", retryAfter)
	}
	return answer
}

func unauthorized() Answer { return Answer{Status: http.StatusUnauthorized} }

func dead() Answer { return Answer{Status: http.StatusPaymentRequired} }

func fine() Answer { return Answer{Status: http.StatusOK} }

// TestLimited checks that a key that has reached a limit rests for that model alone, and for as long as the answer says.
func TestLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a")
		v := p.Judge(choose(t, p, Ask{Model: "m"}), limited("17"))
		if want := (Verdict{Refused: true, New: true, State: Limited, For: 17 * time.Second}); v != want {
			t.Errorf("%+v, want %+v", v, want)
		}
		mustRest(t, p, Ask{Model: "m"}, Resting{For: 17 * time.Second, State: Limited})
		choose(t, p, Ask{Model: "n"})
		choose(t, p, Ask{})
		time.Sleep(17*time.Second - 1)
		mustRest(t, p, Ask{Model: "m"}, Resting{For: 1, State: Limited})
		time.Sleep(time.Nanosecond)
		choose(t, p, Ask{Model: "m"})
	})
}

// TestLimitedForAll checks that a key rests for all models once it has been refused for two at the same time. Requests
// without a model do not count as one.
func TestLimitedForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a")
		first, second, none := choose(t, p, Ask{Model: "m"}), choose(t, p, Ask{Model: "n"}), choose(t, p, Ask{})
		p.Judge(none, limited("60"))
		p.Judge(first, limited("60"))
		choose(t, p, Ask{Model: "o"})
		p.Judge(second, limited("20"))
		mustRest(t, p, Ask{Model: "o"}, Resting{For: 20 * time.Second, State: Limited})
		mustRest(t, p, Ask{Model: "m"}, Resting{For: 60 * time.Second, State: Limited})
		time.Sleep(20 * time.Second)
		choose(t, p, Ask{Model: "o"})
		mustRest(t, p, Ask{Model: "m"}, Resting{For: 40 * time.Second, State: Limited})

		time.Sleep(40 * time.Second) // Now one after the other.
		p.Judge(choose(t, p, Ask{Model: "m"}), limited("10"))
		time.Sleep(10 * time.Second)
		p.Judge(choose(t, p, Ask{Model: "n"}), limited("10"))
		choose(t, p, Ask{Model: "o"})
	})
}

// TestGrowingPauses checks how long keys rest whose answers do not say: longer each time in a row, and the shortest again
// after an answer that shows that the key works.
func TestGrowingPauses(t *testing.T) {
	for state, c := range map[State]struct {
		answer Answer
		pauses []time.Duration
	}{
		Limited:      {limited(""), []time.Duration{5, 10, 20, 40, 80, 160, 300, 300}},
		Unauthorized: {unauthorized(), []time.Duration{10, 20, 40, 80, 160, 320, 600, 600}},
		Dead:         {dead(), []time.Duration{600, 1200, 2400, 3600, 3600}},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := poolOf(&Book{}, "a")
			for range 2 {
				for _, pause := range c.pauses {
					pause *= time.Second
					choices := []Choice{choose(t, p, Ask{}), choose(t, p, Ask{}), choose(t, p, Ask{})}
					for i, choice := range choices { // Requests that are on their way together count once.
						if v := p.Judge(choice, c.answer); v.For != pause || v.State != state || v.New != (i == 0) {
							t.Fatalf("%s: %+v, want a pause of %s", state, v, pause)
						}
					}
					want := Resting{For: pause, State: state}
					mustRest(t, p, Ask{}, want)
					time.Sleep(pause)
				}
				p.Judge(choose(t, p, Ask{}), fine())
			}
		})
	}
}

// TestLongestRest checks that no answer makes a key rest for longer than an hour.
func TestLongestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a")
		p.Judge(choose(t, p, Ask{}), limited("99999999999999999999"))
		mustRest(t, p, Ask{}, Resting{For: time.Hour, State: Limited})
	})
}

// TestLateAnswers checks that an answer to a request that was sent before a key was refused does not end its rest, and
// that answers that are not about the key change nothing.
func TestLateAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a")
		before := choose(t, p, Ask{})
		for _, status := range []int{400, 403, 404, 408, 413, 422, 500, 502, 503, 504, 529} {
			if v := p.Judge(before, Answer{Status: status}); v.Refused {
				t.Errorf("status %d: %+v", status, v)
			}
		}
		p.Judge(before, unauthorized())
		p.Judge(before, fine())
		mustRest(t, p, Ask{}, Resting{For: 10 * time.Second, State: Unauthorized})
	})
}

// TestSessions checks that a session stays on its key while that is ready, and on the next one after that.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a", "b", "c")
		chosen := map[string]int{}
		for i := range 30 {
			session := Ask{Session: fmt.Sprint(i)}
			first := choose(t, p, session)
			chosen[first.Secret]++
			for range 5 {
				if again := choose(t, p, session); again.Secret != first.Secret {
					t.Fatalf("session %d went from %s to %s", i, first.Secret, again.Secret)
				}
			}
		}
		for key, n := range chosen {
			if n != 10 {
				t.Errorf("key %s has %d of 30 sessions", key, n)
			}
		}
		session := Ask{Session: "0"}
		first := choose(t, p, session)
		p.Judge(first, limited("60"))
		second := choose(t, p, session)
		if second.Secret == first.Secret {
			t.Fatal("a key that rests was chosen")
		}
		time.Sleep(time.Hour)
		if third := choose(t, p, session); third.Secret != second.Secret {
			t.Errorf("the session went back from %s to %s, though its cache is at the former", second.Secret, third.Secret)
		}
	})
}

// TestLeastUsed checks that requests without a session are spread, that a key whose requests fail at once does not get
// them all, and that a key that was away for a while is used again.
func TestLeastUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a", "b")
		chosen := map[string]int{}
		for range 110 {
			time.Sleep(10 * time.Millisecond)
			choice := choose(t, p, Ask{})
			chosen[choice.Secret]++
			if choice.Secret == "a" {
				p.Judge(choice, Answer{Status: http.StatusInternalServerError})
				continue
			}
			p.Judge(choice, fine())
		}
		if chosen["a"] > 11 || chosen["a"] < 5 {
			t.Errorf("the failing key was chosen %d times, the other one %d times", chosen["a"], chosen["b"])
		}
		time.Sleep(10 * time.Minute)
		clear(chosen)
		for range 100 {
			chosen[choose(t, p, Ask{}).Secret]++
		}
		if chosen["a"] != 50 {
			t.Errorf("after a while, the key was chosen %d times of 100", chosen["a"])
		}
	})
}

// TestAllResting checks what is said if no key is ready: the shortest wait, and whether all are unauthorized.
func TestAllResting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a", "b")
		p.Judge(choose(t, p, Ask{}), unauthorized())
		b := choose(t, p, Ask{})
		p.Judge(b, unauthorized())
		mustRest(t, p, Ask{}, Resting{For: 10 * time.Second, State: Unauthorized})
		time.Sleep(10 * time.Second)
		p.Judge(choose(t, p, Ask{}), limited("7"))
		p.Judge(choose(t, p, Ask{}), unauthorized())
		mustRest(t, p, Ask{}, Resting{For: 7 * time.Second, State: Limited})
	})
}

// TestBound checks that what belongs to an account stays on its keys: what is stored, what is encrypted, and both after
// the session has gone elsewhere.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a@x", "b@y", "c@x", "d", "e")
		first := choose(t, p, Ask{Session: "s"})
		p.Stores(first, "resp_1")
		if first.Secret != "a@x" {
			t.Fatal(first.Secret)
		}
		for _, ask := range []Ask{{Stored: "resp_1"}, {Session: "s", Bound: true}, {Session: "new", Stored: "resp_1"}} {
			if got := choose(t, p, ask); got.Secret != "a@x" {
				t.Errorf("%+v: %s", ask, got.Secret)
			}
		}
		p.Judge(first, limited("60"))
		if got := choose(t, p, Ask{Session: "s", Bound: true}); got.Secret != "c@x" {
			t.Errorf("the request went to %s, not to the other key of the account", got.Secret)
		}
		p.Judge(choose(t, p, Ask{Stored: "resp_1"}), limited("30"))
		mustRest(t, p, Ask{Stored: "resp_1"}, Resting{For: 30 * time.Second, State: Limited})
		mustRest(t, p, Ask{Session: "s", Bound: true}, Resting{For: 30 * time.Second, State: Limited})
		if got := choose(t, p, Ask{Session: "s"}); got.Account == "x" {
			t.Errorf("%s", got.Secret)
		}

		later := poolOf(&Book{}, "a@x", "b@y", "c@x", "d")
		round := choose(t, later, Ask{})
		later.Judge(round, limited("60"))
		if got := choose(t, later, Ask{Home: round}); got.Account == "x" && got.Secret == round.Secret {
			t.Errorf("a later round went to %s, which rests", got.Secret)
		}
		if got := choose(t, later, Ask{Home: round, Bound: true}); got.Secret != "c@x" {
			t.Errorf("a later round that is bound went to %s", got.Secret)
		}

		q := poolOf(&Book{}, "d", "e") // Two keys without an account: each is of its own.
		own := choose(t, q, Ask{})
		q.Stores(own, "resp_2")
		q.Judge(own, limited("9"))
		mustRest(t, q, Ask{Stored: "resp_2"}, Resting{For: 9 * time.Second, State: Limited})
		choose(t, q, Ask{Stored: "resp_3"})
	})
}

// TestReload checks that the state of a key outlives its pool, and that that of a key that is gone does not.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &Book{}
		before := poolOf(book, "a", "b")
		p := before
		p.Judge(choose(t, p, Ask{Session: "s"}), limited("60"))
		late := choose(t, p, Ask{Session: "s"})
		p = poolOf(book, "c", "b", "a", "b")
		if p.Len() != 3 {
			t.Errorf("%d keys", p.Len())
		}
		for range 20 {
			if got := choose(t, p, Ask{}); got.Secret == "a" {
				t.Fatal("a key that rests was chosen after a reload")
			}
		}
		if got := choose(t, p, Ask{Session: "s"}); got.Secret != "b" {
			t.Errorf("the session went to %s", got.Secret)
		}
		before.Judge(late, dead()) // An answer to a request of the former generation.
		if got := choose(t, p, Ask{Session: "s"}); got.Secret != "c" {
			t.Errorf("the session went to %s", got.Secret)
		}
		poolOf(book, "c")
		p = poolOf(book, "a", "c")
		if got := p.Count(); got[Ready] != 2 {
			t.Errorf("%v", got)
		}
		other := book.Pool("q", keysOf("c"))
		other.Judge(choose(t, other, Ask{}), dead())
		if got := p.Count(); got[Ready] != 2 {
			t.Errorf("the same key of another provider: %v", got)
		}
	})
}

// TestStatuses checks what people read of keys.
func TestStatuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book, began := &Book{}, time.Now()
		p := poolOf(book, "sk-first-key-0123456789@x", "sk-second-key-123456789", "sk-third-key-0123456789")
		first := choose(t, p, Ask{Model: "m"})
		p.Judge(first, limited("60"))
		p.Judge(choose(t, p, Ask{Model: "m"}), dead())
		want := []Status{
			{Provider: "p", Hint: "sk-f...89@x", Account: "x", State: Limited, Since: began, Until: began.Add(time.Minute), Models: []string{"m"}},
			{Provider: "p", Hint: "sk-s...6789", State: Dead, Since: began, Until: began.Add(10 * time.Minute)},
			{Provider: "p", Hint: "sk-t...6789", State: Ready},
		}
		got := book.Keys()
		for i := range want {
			if i >= len(got) || fmt.Sprint(got[i]) != fmt.Sprint(want[i]) {
				t.Fatalf("%+v\nwant\n%+v", got, want)
			}
		}
		if counts := p.Count(); counts[Limited] != 1 || counts[Dead] != 1 || counts[Ready] != 1 {
			t.Errorf("%v", counts)
		}
	})
}

// TestModelsAreBounded checks that clients, who choose the names of models, cannot fill the memory, and that the key is
// ready again when its time is over.
func TestModelsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := poolOf(&Book{}, "a")
		var choices []Choice
		for i := range 10 * mostModels {
			choices = append(choices, choose(t, p, Ask{Model: fmt.Sprint(i) + strings.Repeat("x", 1000)}))
		}
		for _, choice := range choices {
			p.Judge(choice, limited("60"))
		}
		if n := len(choices[0].state.models); n > mostModels {
			t.Errorf("%d models are remembered", n)
		}
		for model := range choices[0].state.models {
			if len(model) > longestModel {
				t.Errorf("%d bytes of a model are remembered", len(model))
			}
		}
		mustRest(t, p, Ask{Model: "new"}, Resting{For: time.Minute, State: Limited})
		time.Sleep(time.Minute)
		choose(t, p, Ask{Model: "new"})
	})
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	book := &Book{}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 200 {
				p := poolOf(book, "a", "b", "c")
				ask := Ask{Model: fmt.Sprint(n % 3), Session: fmt.Sprint(i)}
				choice, err := p.Choose(ask)
				if err != nil {
					continue
				}
				p.Judge(choice, []Answer{fine(), limited("0.001"), {Status: 500}}[n%3])
				p.Stores(choice, "resp")
				p.Failed(choice)
				p.FailedOver()
				book.Keys()
				p.Count()
			}
		})
	}
	group.Wait()
	if n := poolOf(book, "a").Failovers(); n == 0 || n > 1600 {
		t.Errorf("%d failovers", n)
	}
}

// TestChoosingAllocatesNothing checks that one key costs a request nothing.
func TestChoosingAllocatesNothing(t *testing.T) {
	p := poolOf(&Book{}, "a")
	answer := fine()
	if n := testing.AllocsPerRun(100, func() {
		choice, err := p.Choose(Ask{Model: "m", Session: "s"})
		if err != nil {
			t.Fatal(err)
		}
		p.Judge(choice, answer)
		p.Stores(choice, "resp_1")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestKeep forgets a provider that is gone, while a request of it goes on, and keeps what is known of the others.
func TestKeep(t *testing.T) {
	var book Book
	stays, goes := book.Pool("stays", keysOf("a")), book.Pool("goes", keysOf("b"))
	for _, pool := range []*Pool{stays, goes} {
		choice := choose(t, pool, Ask{})
		book.Keep([]string{"stays", "never was"})
		pool.Judge(choice, Answer{Status: http.StatusPaymentRequired})
	}
	if known := book.Keys(); len(known) != 1 || known[0].Provider != "stays" || known[0].State != Dead {
		t.Errorf("%+v", known)
	}
	choose(t, book.Pool("goes", keysOf("b")), Ask{}) // It is a new one.
}
