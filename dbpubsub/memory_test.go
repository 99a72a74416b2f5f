package dbpubsub_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/coder/aibridged/dbpubsub"
	"github.com/coder/aibridged/dbpubsub/pubsubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestInMemory(t *testing.T) {
	t.Parallel()
	pubsubtest.Run(t, func(*testing.T) dbpubsub.Pubsub { return dbpubsub.NewInMemory() })
}

// A slow listener gets the message that it is handling and those in its queue, and is told once of each overflow.
func TestInMemoryOverflow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ps := dbpubsub.NewInMemory()
		defer ps.Close()
		hold := make(chan struct{})
		messages, losses := 0, 0
		_, err := ps.SubscribeWithErr("event", func(_ context.Context, _ []byte, err error) {
			<-hold
			if err != nil {
				losses++
			} else {
				messages++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for round := 1; round <= 3; round++ {
			for i := range 100 {
				if err := ps.Publish("event", nil); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					synctest.Wait() // Until the listener is handling it.
				}
			}
			for calls := 1 + 64 + 1; calls > 0; calls-- {
				hold <- struct{}{}
			}
			synctest.Wait()
			if messages != round*65 || losses != round {
				t.Errorf("round %d: %d messages and %d losses", round, messages, losses)
			}
		}
		close(hold)
	})
}

func Example() {
	ps := dbpubsub.NewInMemory()
	heard := make(chan string)
	_, err := ps.Subscribe(dbpubsub.ProvidersChanged, func(_ context.Context, message []byte) { heard <- string(message) })
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := ps.Publish(dbpubsub.ProvidersChanged, []byte("look again")); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-heard)
	if err := ps.Close(); err != nil {
		fmt.Println(err)
	}
	// Output: look again
}
