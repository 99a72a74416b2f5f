package outbox_test

import (
	"context"
	"fmt"

	"github.com/coder/aibridged/internal/outbox"
)

func Example() {
	queue, err := outbox.Open("", outbox.Options{Durability: outbox.Memory}) // With a directory, entries outlive the process.
	if err != nil {
		fmt.Println(err)
		return
	}
	defer queue.Close()

	commit, err := queue.Append([]byte("start"), []byte("prompt"))
	if err == nil {
		err = commit.Wait(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = queue.Deliver(ctx, outbox.DeliverOptions{}, func(_ context.Context, entries [][]byte) ([]outbox.Failure, error) {
		fmt.Printf("%s\n", entries)
		cancel()
		return nil, nil
	})
	fmt.Println(err, queue.Stats().Pending)
	// Output:
	// [start prompt]
	// context canceled 0
}
