package sse_test

import (
	"fmt"

	"github.com/coder/aibridged/internal/sse"
)

func ExampleSplitter() {
	var splitter sse.Splitter
	for _, chunk := range []string{"event: ping\ndata: {}\n", "\n: nothing new\n\nda", "ta: [DONE]"} {
		for event := range splitter.Feed([]byte(chunk)) {
			fmt.Printf("%q: type %q, data %q\n", event.Raw, event.Type, event.Data)
		}
	}
	for event := range splitter.Flush() {
		fmt.Printf("%q: type %q, data %q\n", event.Raw, event.Type, event.Data)
	}
	// Output:
	// "event: ping\ndata: {}\n\n": type "ping", data "{}"
	// ": nothing new\n\n": type "", data ""
	// "data: [DONE]": type "", data "[DONE]"
}
