package outbox_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

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

// An owner that knows which jobs are open, also after its process was killed.
func ExampleOptions() {
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	run := func(work func(queue *outbox.Queue)) {
		open := map[string]bool{}
		queue, err := outbox.Open(dir, outbox.Options{
			Observe: func(kind outbox.Kind, entry []byte) {
				switch what, job, _ := strings.Cut(string(entry), " "); {
				case kind == outbox.Head:
					clear(open)
					for job := range strings.FieldsSeq(string(entry)) {
						open[job] = true
					}
				case what == "start":
					open[job] = true
				case what == "end":
					delete(open, job)
				}
			},
			Head: func() []byte { return []byte(" " + strings.Join(slices.Sorted(maps.Keys(open)), " ")) },
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer queue.Close()
		fmt.Println("open at the start:", slices.Sorted(maps.Keys(open)))
		work(queue)
	}
	run(func(queue *outbox.Queue) {
		_, err := queue.Append([]byte("start one"), []byte("start two"))
		fmt.Println(err)
		_, err = queue.AppendReserved([]byte("end one")) // Though the disk may be full by now.
		fmt.Println(err)
	})
	run(func(*outbox.Queue) {})
	// Output:
	// open at the start: []
	// <nil>
	// <nil>
	// open at the start: [two]
}
