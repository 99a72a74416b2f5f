package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"
)

func durabilities() map[string]Durability {
	return map[string]Durability{"sync": Sync, "kernel": Kernel, "memory": Memory}
}

// TestQueue is what holds for all durabilities.
func TestQueue(t *testing.T) {
	cases := map[string]func(t *testing.T, open opener){
		"order":                        testOrder,
		"sizes":                        testSizes,
		"together":                     testTogether,
		"many appenders":               testManyAppenders,
		"batch limits":                 testBatchLimits,
		"nothing to append":            testNothingToAppend,
		"entry too large":              testEntryTooLarge,
		"081 086 full and again":       testFull,
		"082 send fails":               testSendFails,
		"083 one refused for good":     testPermanentFailure,
		"084 refused for now":          testTransientFailure,
		"a failure that is none of it": testWrongFailure,
		"085 clock":                    testAge,
		"087 backlog at the end":       testBacklog,
		"closed":                       testClosed,
		"one consumer":                 testOneConsumer,
		"consumer comes back":          testConsumerComesBack,
	}
	for name, test := range cases {
		for durabilityName, durability := range durabilities() {
			t.Run(name+"/"+durabilityName, func(t *testing.T) {
				dir := t.TempDir()
				test(t, func(t *testing.T, options Options) *Queue {
					options.Durability = durability
					return mustOpen(t, dir, options)
				})
			})
		}
	}
}

type opener = func(*testing.T, Options) *Queue

func testOrder(t *testing.T, open opener) {
	q := open(t, Options{SegmentBytes: 1 << 10})
	want := numbered(0, 500)
	mustAppend(t, q, want[:100]...)
	if s := q.Stats(); s.Pending != 100 || s.Bytes != 100*frameOverhead+790 || s.Delivered != 0 {
		t.Errorf("%+v", s)
	}
	var r receiver
	stop := deliver(t, q, DeliverOptions{}, r.send)
	mustAppend(t, q, want[100:]...)
	flush(t, q)
	stop()
	checkEntries(t, r.entries(), want)
	if s := q.Stats(); s != (Stats{Delivered: 500}) {
		t.Errorf("%+v", s)
	}
	if q.recent.bytes != 0 || len(q.recent.items) != 0 {
		t.Errorf("%d bytes are kept in memory", q.recent.bytes)
	}
}

// testSizes has entries of no bytes, of more than what stays in memory, and the largest.
func testSizes(t *testing.T, open opener) {
	q := open(t, Options{MaxBytes: 200 << 20})
	want := []string{"", "a", strings.Repeat("b", scanBytes-frameOverhead), strings.Repeat("c", MaxEntryBytes), "d", strings.Repeat("e", 2*recentBytes), ""}
	mustAppend(t, q, want...)
	var r receiver
	stop := deliver(t, q, DeliverOptions{BatchBytes: 1 << 10}, r.send)
	flush(t, q)
	stop()
	checkEntries(t, r.entries(), want)
	if want := []int{2, 1, 1, 1, 1, 1}; !slices.Equal(r.batches, want) {
		t.Errorf("batches of %v, want %v", r.batches, want)
	}
}

// testTogether has appenders whose entries must not come between each other's.
func testTogether(t *testing.T, open opener) {
	q := open(t, Options{SegmentBytes: 4 << 10})
	var appenders sync.WaitGroup
	for a := range 8 {
		appenders.Go(func() {
			for n := range 50 {
				entry := fmt.Appendf(nil, "%d %d", a, n)
				if _, err := q.Append(entry, entry, entry); err != nil {
					t.Error(err)
				}
				clear(entry) // It must not have been kept.
			}
		})
	}
	appenders.Wait()
	got := drain(t, q)
	if len(got) != 8*50*3 {
		t.Fatalf("%d entries", len(got))
	}
	for three := range slices.Chunk(got, 3) {
		if three[0] != three[1] || three[1] != three[2] {
			t.Fatalf("apart: %q", three)
		}
	}
}

func testManyAppenders(t *testing.T, open opener) {
	q := open(t, Options{SegmentBytes: 8 << 10})
	var r receiver
	stop := deliver(t, q, DeliverOptions{BatchEntries: 7}, r.send)
	var appenders sync.WaitGroup
	for a := range 16 {
		appenders.Go(func() {
			for n := range 50 {
				commit, err := q.Append(fmt.Appendf(nil, "%02d %05d", a, n))
				if err := errors.Join(err, commit.Wait(t.Context())); err != nil {
					t.Error(err)
				}
			}
		})
	}
	appenders.Wait()
	flush(t, q)
	stop()
	got := r.entries()
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:2], b[:2]) })
	if len(got) != 16*50 || !slices.IsSorted(got) {
		t.Errorf("%d entries, each appender's in order: %v", len(got), slices.IsSorted(got))
	}
}

func testBatchLimits(t *testing.T, open opener) {
	q := open(t, Options{})
	mustAppendTogether(t, q, "four", "four", "four", "a longer one", "four", "four")
	var r receiver
	stop := deliver(t, q, DeliverOptions{BatchBytes: 8, BatchEntries: 3}, r.send)
	flush(t, q)
	stop()
	if want := []int{2, 1, 1, 2}; !slices.Equal(r.batches, want) {
		t.Errorf("batches of %v, want %v", r.batches, want)
	}
	mustAppendTogether(t, q, numbered(0, 7)...)
	r = receiver{}
	stop = deliver(t, q, DeliverOptions{BatchEntries: 3}, r.send)
	flush(t, q)
	stop()
	if want := []int{3, 3, 1}; !slices.Equal(r.batches, want) {
		t.Errorf("batches of %v, want %v", r.batches, want)
	}
}

func testNothingToAppend(t *testing.T, open opener) {
	q := open(t, Options{})
	commit, err := q.Append()
	if err != nil || commit != (Commit{}) {
		t.Errorf("%v, %v", commit, err)
	}
	flush(t, q)
	if s := q.Stats(); s != (Stats{}) {
		t.Errorf("%+v", s)
	}
}

func testEntryTooLarge(t *testing.T, open opener) {
	q := open(t, Options{})
	_, err := q.Append([]byte("with it"), make([]byte, MaxEntryBytes+1))
	if err == nil || errors.Is(err, ErrFull) || errors.Is(err, ErrFailed) {
		t.Errorf("got %v", err)
	}
	if s := q.Stats(); s.Pending != 0 {
		t.Errorf("%+v", s)
	}
}

func testFull(t *testing.T, open opener) {
	q := open(t, Options{MaxBytes: 12 * (frameOverhead + 7), ReserveBytes: 2 * (frameOverhead + 7)})
	want := numbered(0, 10)
	mustAppend(t, q, want...)
	for range 3 {
		if _, err := q.Append([]byte("one more")); !errors.Is(err, ErrFull) {
			t.Fatalf("got %v, want ErrFull", err)
		}
	}
	if s := q.Stats(); s.Pending != 10 || s.AppendErrors != 3 {
		t.Errorf("%+v", s)
	}
	for _, entry := range []string{"end one", "end two"} {
		mustAppendReserved(t, q, entry)
		want = append(want, entry)
	}
	if _, err := q.AppendReserved([]byte("")); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull: there is no reserve of the reserve", err)
	}
	checkEntries(t, drain(t, q), want)
	mustAppend(t, q, numbered(10, 13)...)
	checkEntries(t, drain(t, q), numbered(10, 13))
}

// TestReserveBytes is how much Append leaves to AppendReserved.
func TestReserveBytes(t *testing.T) {
	for _, test := range []struct {
		name             string
		options          Options
		ordinary, ending int64
	}{
		{"default", Options{MaxBytes: 16 << 20}, 15 << 20, 16 << 20},
		{"a quarter at most", Options{MaxBytes: 1 << 20}, 768 << 10, 1 << 20},
		{"named", Options{MaxBytes: 1 << 20, ReserveBytes: 100}, 1<<20 - 100, 1 << 20},
		{"named too large", Options{MaxBytes: 1 << 20, ReserveBytes: 1 << 20}, 768 << 10, 1 << 20},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.options.Durability = Memory
			q := mustOpen(t, "", test.options)
			if _, err := q.Append(make([]byte, test.ordinary-frameOverhead+1)); !errors.Is(err, ErrFull) {
				t.Errorf("a byte too many: %v", err)
			}
			mustAppend(t, q, string(make([]byte, test.ordinary-frameOverhead)))
			left := test.ending - test.ordinary - frameOverhead
			if _, err := q.AppendReserved(make([]byte, left+1)); !errors.Is(err, ErrFull) {
				t.Errorf("a byte too many in reserve: %v", err)
			}
			mustAppendReserved(t, q, string(make([]byte, left)))
			if s := q.Stats(); s.Bytes != test.ending || s.AppendErrors != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// testSendFails has a receiver that is away for a while: all is sent again, after pauses that grow.
func testSendFails(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		log := &logLines{}
		q := open(t, Options{Logger: slog.Make(log)})
		mustAppend(t, q, numbered(0, 3)...)
		var (
			r     receiver
			tries []time.Time
		)
		stop := deliver(t, q, DeliverOptions{}, func(ctx context.Context, entries [][]byte) ([]Failure, error) {
			tries = append(tries, time.Now())
			if len(tries) <= 20 || len(tries) == 22 {
				return nil, errors.New("away")
			}
			return r.send(ctx, entries)
		})
		flush(t, q)
		mustAppend(t, q, "entry 3")
		flush(t, q)
		stop()
		checkEntries(t, r.entries(), numbered(0, 4))
		if wait := tries[22].Sub(tries[21]); wait > backoffMin {
			t.Errorf("a pause of %v, want %v: it had worked in between", wait, backoffMin)
		}
		most := backoffMin
		for n := range tries[1:21] {
			if wait := tries[n+1].Sub(tries[n]); wait < most/2 || wait > most {
				t.Errorf("pause %d took %v, want %v at most and half of it at least", n, wait, most)
			}
			most = min(2*most, backoffMax)
		}
		if n := log.count("cannot be delivered"); n != 2 {
			t.Errorf("%d log lines about it", n)
		}
		if n := log.count("delivered again"); n != 2 {
			t.Errorf("%d log lines about its end", n)
		}
		mustClose(t, q)
	})
}

// testPermanentFailure has one poison entry among 1,000, and sends it again later.
func testPermanentFailure(t *testing.T, open opener) {
	log := &logLines{}
	q := open(t, Options{Logger: slog.Make(log)})
	var entries [][]byte
	for _, entry := range numbered(0, 1000) {
		entries = append(entries, []byte(entry))
	}
	if _, err := q.Append(entries...); err != nil {
		t.Fatal(err)
	}
	var r receiver
	refuse := func(ctx context.Context, entries [][]byte) ([]Failure, error) {
		n := slices.IndexFunc(entries, func(entry []byte) bool { return string(entry) == "entry 700" })
		if n < 0 {
			return r.send(ctx, entries)
		}
		_, err := r.send(ctx, slices.Delete(slices.Clone(entries), n, n+1))
		return []Failure{{Index: n, Err: errors.New("poison\x00\xff" + strings.Repeat("!", 5000)), Permanent: true}}, err
	}
	stop := deliver(t, q, DeliverOptions{}, refuse)
	flush(t, q)
	stop()
	checkEntries(t, r.entries(), slices.Delete(numbered(0, 1000), 700, 701))
	if s := q.Stats(); s != (Stats{Delivered: 999, Dead: 1}) {
		t.Errorf("%+v", s)
	}
	if n := log.count("poison"); n != 1 {
		t.Errorf("%d log lines name the reason", n)
	}

	moved, err := q.Resend()
	if moved != 1 || err != nil {
		t.Fatalf("%d, %v", moved, err)
	}
	q.lookAround(t.Context())
	checkEntries(t, drain(t, q), []string{"entry 700"})
	if s := q.Stats(); s != (Stats{Delivered: 1000}) {
		t.Errorf("%+v", s)
	}
	if moved, err := q.Resend(); moved != 0 || err != nil {
		t.Errorf("%d, %v", moved, err)
	}
}

// testTransientFailure has entries that are refused a few times: they are sent again alone, before all later ones.
func testTransientFailure(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t, Options{})
		mustAppendTogether(t, q, numbered(0, 10)...)
		var sent [][]string
		stop := deliver(t, q, DeliverOptions{BatchEntries: 5}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
			var batch []string
			for _, entry := range entries {
				batch = append(batch, strings.TrimPrefix(string(entry), "entry "))
			}
			sent = append(sent, batch)
			switch len(sent) {
			case 1:
				return []Failure{{Index: 3, Err: errors.New("later")}, {Index: 1, Err: errors.New("later")}}, nil
			case 2:
				return []Failure{{Index: 1, Err: errors.New("later")}, {Index: 0, Err: errors.New("never"), Permanent: true}}, nil
			}
			return nil, nil
		})
		flush(t, q)
		stop()
		want := [][]string{{"0", "1", "2", "3", "4"}, {"1", "3"}, {"3"}, {"5", "6", "7", "8", "9"}}
		if !slices.EqualFunc(sent, want, slices.Equal) {
			t.Errorf("sent %q, want %q", sent, want)
		}
		if s := q.Stats(); s != (Stats{Delivered: 9, Dead: 1}) {
			t.Errorf("%+v", s)
		}
		mustClose(t, q)
	})
}

// testWrongFailure has a receiver that names an entry it was not sent: nothing is known, and all is sent again.
func testWrongFailure(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t, Options{})
		mustAppend(t, q, "only")
		tries := 0
		stop := deliver(t, q, DeliverOptions{}, func(context.Context, [][]byte) ([]Failure, error) {
			if tries++; tries < 3 {
				return []Failure{{Index: 2 - 3*tries, Permanent: true}}, nil
			}
			return nil, nil
		})
		flush(t, q)
		stop()
		if s := q.Stats(); tries != 3 || s != (Stats{Delivered: 1}) {
			t.Errorf("%d tries, %+v", tries, s)
		}
		mustClose(t, q)
	})
}

// testAge has entries that wait for a minute more than those after them.
func testAge(t *testing.T, open opener) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t, Options{})
		age := func(want time.Duration) {
			t.Helper()
			if got := q.Stats().Age; got != want {
				t.Errorf("age %v, want %v", got, want)
			}
		}
		age(0)
		for n := range 3 {
			mustAppend(t, q, numbered(n, n+1)...)
			<-time.After(time.Minute)
		}
		age(3 * time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		err := q.Deliver(ctx, DeliverOptions{BatchEntries: 1}, func(context.Context, [][]byte) ([]Failure, error) {
			cancel()
			return nil, nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		age(2 * time.Minute)

		if q.options.Durability != Memory {
			q.recent = recent{limit: 1} // The age of entries on disk only is read from there.
		}
		taken := false
		stop := deliver(t, q, DeliverOptions{BatchEntries: 1}, func(ctx context.Context, _ [][]byte) ([]Failure, error) {
			if taken {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			taken = true
			return nil, nil
		})
		synctest.Wait()
		age(time.Minute)
		stop()
		drain(t, q)
		age(0)
		mustClose(t, q)
	})
}

// TestAgeOnDisk has entries that are on disk only: while none is being delivered, the age is that of the last delivered.
func TestAgeOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := mustOpen(t, t.TempDir(), Options{})
		for _, entry := range numbered(0, 4) {
			mustAppend(t, q, entry)
			<-time.After(time.Minute)
		}
		q.recent = recent{limit: 1}
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		err := q.Deliver(ctx, DeliverOptions{BatchEntries: 3}, func(context.Context, [][]byte) ([]Failure, error) {
			if calls++; calls == 1 {
				return []Failure{{Index: 1, Err: errors.New("not yet")}, {Index: 2, Err: errors.New("not yet")}}, nil
			}
			if age := q.Stats().Age; age < 3*time.Minute || age > 3*time.Minute+backoffMax {
				t.Errorf("age %v of the second entry", age)
			}
			cancel()
			return nil, nil
		})
		if age := q.Stats().Age; !errors.Is(err, context.Canceled) || age < 2*time.Minute || age > 2*time.Minute+backoffMax {
			t.Errorf("%v, age %v", err, age)
		}
		mustClose(t, q)
	})
}

func testBacklog(t *testing.T, open opener) {
	q := open(t, Options{})
	mustAppendTogether(t, q, numbered(0, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	stop := deliver(t, q, DeliverOptions{BatchEntries: 4}, func(ctx context.Context, entries [][]byte) ([]Failure, error) {
		if string(entries[0]) == "entry 0" {
			return nil, nil
		}
		cancel() // The deadline.
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err := q.Flushed(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	stop()
	if s := q.Stats(); s.Pending != 6 {
		t.Errorf("%+v", s)
	}
	mustClose(t, q)
	if q.options.Durability != Memory {
		checkEntries(t, drain(t, open(t, Options{})), numbered(4, 10))
	}
}

func testClosed(t *testing.T, open opener) {
	q := open(t, Options{})
	mustAppend(t, q, "pending")
	commit, err := q.Append([]byte("with it"))
	if err != nil {
		t.Fatal(err)
	}
	sending, ended := make(chan struct{}), make(chan error, 2)
	var consumer sync.WaitGroup
	consumer.Go(func() {
		ended <- q.Deliver(t.Context(), DeliverOptions{}, func(ctx context.Context, _ [][]byte) ([]Failure, error) {
			close(sending)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	consumer.Go(func() { ended <- q.Flushed(t.Context()) })
	<-sending
	mustClose(t, q)
	consumer.Wait()
	_, appendErr := q.Append([]byte("late"))
	deliverErr := q.Deliver(t.Context(), DeliverOptions{}, nil)
	for n, err := range []error{<-ended, <-ended, appendErr, deliverErr, q.Close()} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%d: got %v, want ErrClosed", n, err)
		}
	}
	if err := commit.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func testOneConsumer(t *testing.T, open opener) {
	q := open(t, Options{})
	mustAppend(t, q, "entry")
	sending := make(chan struct{})
	stop := deliver(t, q, DeliverOptions{}, func(ctx context.Context, _ [][]byte) ([]Failure, error) {
		close(sending)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	<-sending
	if err := q.Deliver(t.Context(), DeliverOptions{}, nil); !errors.Is(err, errDelivering) {
		t.Errorf("got %v", err)
	}
	stop()
	checkEntries(t, drain(t, q), []string{"entry"})
}

// testConsumerComesBack has consumers that end in the middle of a batch.
func testConsumerComesBack(t *testing.T, open opener) {
	q := open(t, Options{SegmentBytes: 256})
	mustAppend(t, q, numbered(0, 100)...)
	var got []string
	for len(got) < 100 {
		ctx, cancel := context.WithCancel(t.Context())
		err := q.Deliver(ctx, DeliverOptions{BatchEntries: 7}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
			cancel()
			got = append(got, string(entries[0]))
			if len(entries) > 1 {
				return []Failure{{Index: 1, Err: errors.New("not yet")}}, nil
			}
			return nil, nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		// The second entry holds the others back, although they were taken.
		want := got[len(got)-1]
		if last := fmt.Sprintf("entry %d", len(got)-1); want != last {
			t.Fatalf("got %q, want %q", want, last)
		}
	}
}
