// Command bench measures what the gateway costs as users run it. It builds the program and runs `aibridged serve` as a
// process: with a data directory of its own, SQLite, records synced to the disk, its log in a file, and metrics on. It
// compares the program with other processes: a bare httputil.ReverseProxy with the same transport settings and the same
// GOGC, the gateway once more with its records in memory and once more with an MCP server of 20 tools, and nginx if it is
// installed. All of them send requests to a scripted upstream in a process of its own. Load comes from this process. CPU time and memory of each process are the
// kernel's figures for that process.
//
// Each workload is sent to all of them in turn, for several rounds, because the speed of machines drifts. The table
// shows medians over the rounds; ratios are taken within a round. The bench ends with an error if a request fails, if
// an answer has a byte more or less than the upstream sent, or if a stream lacks its end.
//
// With -page DIR there is one more gateway, on a data directory that may have what was recorded before, whose page somebody looks at
// all the time.
//
//	go run ./internal/bench [-rounds 5] [-only KEYS] [-short] [-page DIR]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if role := os.Getenv(roleVariable); role != "" {
		exitWith(serveRole(ctx, role))
	}
	rounds := flag.Int("rounds", 0, "how often each workload is measured (default: 5, with -short 1)")
	only := flag.String("only", "", "measure only these workloads, separated by commas: "+strings.Join(workloadKeys(), ", "))
	short := flag.Bool("short", false, "only check that everything works, in seconds: the figures mean little")
	page := flag.String("page", "", "data directory of one more gateway, whose page is loaded every two seconds")
	flag.Parse()
	exitWith(bench(ctx, os.Stdout, benchOptions{rounds: *rounds, only: *only, short: *short, page: *page}))
}

func exitWith(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
