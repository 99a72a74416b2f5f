// Package pubsubtest is the test suite that every implementation of [dbpubsub.Pubsub] must pass.
package pubsubtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/aibridged/dbpubsub"
)

const (
	// patience is how long a test waits for a message. Only a failing test waits that long.
	patience = 30 * time.Second
	// flood is a number of messages above what an implementation may queue for a slow listener.
	flood = 2000
)

// Run runs the suite. Open returns a new Pubsub that shares nothing with those before it; the suite closes it.
func Run(t *testing.T, open func(t *testing.T) dbpubsub.Pubsub) {
	for name, test := range map[string]func(*testing.T, dbpubsub.Pubsub){
		"delivers in order":                  deliversInOrder,
		"delivers to every subscriber":       deliversToEverySubscriber,
		"keeps events apart":                 keepsEventsApart,
		"keeps a copy of the message":        keepsACopy,
		"any bytes are a message":            anyBytes,
		"cancel ends a subscription":         cancelEndsASubscription,
		"listener cancels itself":            listenerCancelsItself,
		"listener publishes and subscribes":  listenerPublishesAndSubscribes,
		"cancel ends the listener's context": cancelEndsTheContext,
		"slow listener hears of its loss":    slowListenerHearsOfItsLoss,
		"slow listener hinders nobody":       slowListenerHindersNobody,
		"closed is closed":                   closedIsClosed,
		"close waits for listeners":          closeWaits,
		"concurrent use":                     concurrentUse,
	} {
		t.Run(name, func(t *testing.T) {
			ps := open(t)
			defer func() {
				if err := ps.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			test(t, ps)
		})
	}
}

func publish(t *testing.T, ps dbpubsub.Pubsub, event string, messages ...string) {
	t.Helper()
	for _, message := range messages {
		if err := ps.Publish(event, []byte(message)); err != nil {
			t.Fatalf("publish: %v", err)
		}
	}
}

// collect subscribes to event with a listener that sends what it gets to heard.
func collect(t *testing.T, ps dbpubsub.Pubsub, event string) (heard <-chan string, cancel func()) {
	t.Helper()
	all := make(chan string, flood)
	cancel, err := ps.Subscribe(event, func(_ context.Context, message []byte) { all <- string(message) })
	if err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	return all, cancel
}

func await[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func expect(t *testing.T, heard <-chan string, want ...string) {
	t.Helper()
	for _, message := range want {
		if got := await(t, heard); got != message {
			t.Fatalf("heard %q, want %q", got, message)
		}
	}
}

func deliversInOrder(t *testing.T, ps dbpubsub.Pubsub) {
	heard, _ := collect(t, ps, "event")
	var want []string
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
	}
	publish(t, ps, "event", want...)
	expect(t, heard, want...)
}

func deliversToEverySubscriber(t *testing.T, ps dbpubsub.Pubsub) {
	publish(t, ps, "event", "before there was anyone")
	first, _ := collect(t, ps, "event")
	second, _ := collect(t, ps, "event")
	publish(t, ps, "event", "hello")
	expect(t, first, "hello")
	expect(t, second, "hello")
}

func keepsEventsApart(t *testing.T, ps dbpubsub.Pubsub) {
	odd, _ := collect(t, ps, `odd "event"; --`)
	other, _ := collect(t, ps, "EVENT")
	heard, _ := collect(t, ps, "event")
	publish(t, ps, `odd "event"; --`, "1")
	publish(t, ps, "EVENT", "2")
	publish(t, ps, "event", "3")
	expect(t, odd, "1")
	expect(t, other, "2")
	expect(t, heard, "3")
}

func keepsACopy(t *testing.T, ps dbpubsub.Pubsub) {
	hold := make(chan struct{})
	heard := make(chan string, 2)
	_, err := ps.Subscribe("event", func(_ context.Context, message []byte) {
		<-hold
		heard <- string(message)
	})
	if err != nil {
		t.Fatal(err)
	}
	message := []byte("first")
	for _, text := range []string{"first", "other"} {
		copy(message, text)
		if err := ps.Publish("event", message); err != nil {
			t.Fatal(err)
		}
	}
	copy(message, "third")
	close(hold)
	expect(t, heard, "first", "other")
}

func anyBytes(t *testing.T, ps dbpubsub.Pubsub) {
	heard, _ := collect(t, ps, "event")
	messages := []string{"", "\x00", "\xff\xfe", "'; --", string(make([]byte, 4000))}
	publish(t, ps, "event", messages...)
	expect(t, heard, messages...)
}

func cancelEndsASubscription(t *testing.T, ps dbpubsub.Pubsub) {
	ended, cancel := collect(t, ps, "event")
	heard, _ := collect(t, ps, "event")
	publish(t, ps, "event", "1")
	expect(t, ended, "1")
	cancel()
	cancel()
	publish(t, ps, "event", "2", "3")
	expect(t, heard, "1", "2", "3")
	if err := ps.Close(); err != nil { // After Close no call of the listener runs.
		t.Fatal(err)
	}
	if len(ended) > 0 {
		t.Errorf("heard %q after it was cancelled", <-ended)
	}
}

func listenerCancelsItself(t *testing.T, ps dbpubsub.Pubsub) {
	cancels := make(chan func(), 1)
	heard := make(chan string, flood)
	cancel, err := ps.Subscribe("event", func(_ context.Context, message []byte) {
		(<-cancels)()
		heard <- string(message)
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, ps, "event", "1", "2")
	cancels <- cancel
	expect(t, heard, "1")
	if err := ps.Close(); err != nil {
		t.Fatal(err)
	}
	if len(heard) > 0 {
		t.Errorf("heard %q after it had cancelled itself", <-heard)
	}
}

func listenerPublishesAndSubscribes(t *testing.T, ps dbpubsub.Pubsub) {
	heard, _ := collect(t, ps, "answer")
	nested := make(chan string, flood)
	_, err := ps.Subscribe("question", func(context.Context, []byte) {
		_, err := ps.Subscribe("answer", func(_ context.Context, message []byte) { nested <- string(message) })
		if err = errors.Join(err, ps.Publish("answer", []byte("42"))); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, ps, "question", "")
	expect(t, heard, "42")
	expect(t, nested, "42")
}

func cancelEndsTheContext(t *testing.T, ps dbpubsub.Pubsub) {
	called, ended := make(chan bool, 1), make(chan bool, 1)
	cancel, err := ps.Subscribe("event", func(ctx context.Context, _ []byte) {
		called <- ctx.Err() == nil
		<-ctx.Done()
		ended <- true
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, ps, "event", "")
	if !await(t, called) {
		t.Error("the context had ended before")
	}
	cancel() // The listener waits for this.
	await(t, ended)
}

// heardWithErr is one call of a ListenerWithErr.
type heardWithErr struct {
	message string
	err     error
}

func slowListenerHearsOfItsLoss(t *testing.T, ps dbpubsub.Pubsub) {
	hold := make(chan struct{})
	begun := make(chan struct{}, 2*flood)
	heard := make(chan heardWithErr, 2*flood)
	_, err := ps.SubscribeWithErr("event", func(_ context.Context, message []byte, err error) {
		begun <- struct{}{}
		<-hold
		heard <- heardWithErr{string(message), err}
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, ps, "event", "first")
	await(t, begun)
	plain, _ := collect(t, ps, "end of flood")
	for i := range flood {
		publish(t, ps, "event", fmt.Sprint(i))
	}
	publish(t, ps, "end of flood", "")
	expect(t, plain, "")
	close(hold)
	messages := 0
	for last := ""; last != "last"; {
		got := await(t, heard)
		last = got.message
		if got.err == nil {
			messages++
			continue
		}
		if !errors.Is(got.err, dbpubsub.ErrDroppedMessages) || got.message != "" {
			t.Errorf("heard %q with %v", got.message, got.err)
		}
		publish(t, ps, "event", "last") // Published again after each report of a loss, since it may be lost too.
	}
	if messages > flood {
		t.Errorf("heard %d of %d messages, and of a loss", messages, flood+2)
	}
}

func slowListenerHindersNobody(t *testing.T, ps dbpubsub.Pubsub) {
	_, err := ps.Subscribe("event", func(ctx context.Context, _ []byte) { <-ctx.Done() })
	if err != nil {
		t.Fatal(err)
	}
	heard, _ := collect(t, ps, "event")
	for i := range flood {
		publish(t, ps, "event", fmt.Sprint(i))
		expect(t, heard, fmt.Sprint(i))
	}
}

func closedIsClosed(t *testing.T, ps dbpubsub.Pubsub) {
	heard, cancel := collect(t, ps, "event")
	for range 2 {
		if err := ps.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if err := ps.Publish("event", nil); err == nil {
		t.Error("Publish works after Close")
	}
	if _, err := ps.Subscribe("event", func(context.Context, []byte) {}); err == nil {
		t.Error("Subscribe works after Close")
	}
	if _, err := ps.SubscribeWithErr("event", func(context.Context, []byte, error) {}); err == nil {
		t.Error("SubscribeWithErr works after Close")
	}
	cancel()
	if len(heard) > 0 {
		t.Errorf("heard %q", <-heard)
	}
}

func closeWaits(t *testing.T, ps dbpubsub.Pubsub) {
	called := make(chan struct{}, 1)
	returned := false // If Close does not wait, the race detector reports it.
	_, err := ps.Subscribe("event", func(ctx context.Context, _ []byte) {
		called <- struct{}{}
		<-ctx.Done()
		returned = true
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, ps, "event", "")
	await(t, called)
	if err := ps.Close(); err != nil {
		t.Fatal(err)
	}
	if !returned {
		t.Error("Close returned before the listener")
	}
}

func concurrentUse(t *testing.T, ps dbpubsub.Pubsub) {
	heard, _ := collect(t, ps, "event")
	var publishing sync.WaitGroup
	var want []string
	for i := range 8 {
		for j := range 5 {
			want = append(want, fmt.Sprint(i, j))
		}
		publishing.Go(func() {
			for j := range 5 {
				if err := ps.Publish("event", fmt.Append(nil, fmt.Sprint(i, j))); err != nil {
					t.Error(err)
				}
				cancel, err := ps.Subscribe("event", func(context.Context, []byte) {})
				if err != nil {
					t.Error(err)
					continue
				}
				cancel()
			}
		})
	}
	publishing.Wait()
	var got []string
	for range want {
		got = append(got, await(t, heard))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v", got, want)
	}
}
