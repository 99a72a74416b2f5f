// Command bench measures what the gateway costs, as ratios to a bare ReverseProxy with the same transport settings in
// the same run. Upstream, proxies and load are processes of their own, and each proxy reports its own CPU time and
// memory, so that nobody pays for the work of another. Rounds go in turn, bare, gateway, bare, gateway, because machines
// drift; what is printed are medians.
//
//	go run ./internal/bench
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	role := flag.String("role", "", "run as one of the processes: upstream, bare, library or gateway")
	upstream := flag.String("upstream", "", "base URL that a proxy's requests go to")
	rounds := flag.Int("rounds", 5, "rounds of each measurement")
	flag.Parse()
	var err error
	if *role != "" {
		err = serveRole(ctx, *role, *upstream)
	} else {
		err = run(ctx, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
