package outbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	crashAppenders = 4
	crashRounds    = 30 // For each durability.
)

// runChild is the main function of a process that a test starts.
func runChild(role string, args []string) int {
	var err error
	switch role {
	case "hold":
		err = childHold(args[0])
	case "append":
		err = childAppend(args)
	default:
		err = errors.New("unknown role")
	}
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

// childHold has a queue open until its standard input ends.
func childHold(dir string) error {
	q, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, q.Close())
}

// childAppend appends until it is killed, and says which entries are durable. Where it delivers, it says what it was
// about to send and what was taken.
func childAppend(args []string) error {
	dir, durability, delivers := args[0], args[1], args[2] == "true"
	first, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	q, err := Open(dir, Options{Durability: durabilities()[durability], SegmentBytes: 4 << 10})
	if err != nil {
		return err
	}
	ctx := context.Background()
	var work sync.WaitGroup
	if delivers {
		work.Go(func() {
			_ = q.Deliver(ctx, DeliverOptions{}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
				var lines strings.Builder
				for _, entry := range entries {
					fmt.Fprintf(&lines, "sent %s\n", entry[:entryLength])
				}
				fmt.Print(lines.String(), "batch\n")
				return nil, nil
			})
		})
	}
	for a := range crashAppenders {
		work.Go(func() {
			for n := first; ; n++ {
				entry := crashEntry(a, n)
				commit, err := q.Append([]byte(entry))
				if err := errors.Join(err, commit.Wait(ctx)); err != nil {
					fmt.Println("failed:", err)
					return
				}
				fmt.Println("durable", entry[:entryLength])
			}
		})
	}
	work.Wait()
	return nil
}

const entryLength = 9 // Of the name of an entry.

func crashEntry(appender, n int) string {
	return fmt.Sprintf("%d %07d%s", appender, n, strings.Repeat("x", n%300))
}

// child starts this program as another process.
func child(t *testing.T, role string, args ...string) (*exec.Cmd, io.WriteCloser, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-child", role}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, bufio.NewScanner(out)
}

// crashes is what is known about all entries after some crashes.
type crashes struct {
	durable map[string]bool
	sent    []string
	unsure  map[string]bool // What was sent and not yet noted when a process was killed.
}

// TestFault075Kill kills a process at random moments, over and over: all that it called durable is delivered, each
// appender's in order, and nothing twice but the batch that was being delivered.
func TestFault075Kill(t *testing.T) {
	for _, durability := range []string{"sync", "kernel"} {
		t.Run(durability, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(75, uint64(len(durability))))
			dir := t.TempDir()
			all := crashes{durable: map[string]bool{}, unsure: map[string]bool{}}
			for round := range crashRounds {
				all.round(t, dir, durability, round%2 == 1, 10_000*round, rng.IntN(300))
				if round%3 != 0 {
					continue
				}
				q := mustOpen(t, dir, Options{})
				if s := q.Stats(); s.Damaged != 0 {
					t.Errorf("%+v", s)
				}
				for _, entry := range drain(t, q) {
					all.sent = append(all.sent, entry[:entryLength])
				}
				mustClose(t, q)
			}
			q := mustOpen(t, dir, Options{})
			for _, entry := range drain(t, q) {
				all.sent = append(all.sent, entry[:entryLength])
			}
			all.check(t)
		})
	}
}

// round runs a process until it has said so many lines.
func (c *crashes) round(t *testing.T, dir, durability string, delivers bool, first, lines int) {
	t.Helper()
	cmd, _, out := child(t, "append", dir, durability, strconv.FormatBool(delivers), strconv.Itoa(first))
	var batch, before []string
	for n := 0; out.Scan(); n++ {
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		switch kind, entry, _ := strings.Cut(out.Text(), " "); {
		case kind == "durable" && len(entry) == entryLength:
			c.durable[entry] = true
		case kind == "sent" && len(entry) == entryLength:
			batch = append(batch, entry)
			c.sent = append(c.sent, entry)
		case kind == "batch":
			before, batch = batch, nil
		case kind == "failed:":
			t.Errorf("%s", out.Text())
		}
	}
	for _, entry := range append(before, batch...) {
		c.unsure[entry] = true
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
}

func (c *crashes) check(t *testing.T) {
	t.Helper()
	if len(c.durable) < 100 {
		t.Errorf("only %d entries became durable", len(c.durable))
	}
	seen, last := map[string]bool{}, map[byte]string{}
	for _, entry := range c.sent {
		switch {
		case seen[entry] && !c.unsure[entry]:
			t.Errorf("%q twice", entry)
		case !seen[entry] && entry < last[entry[0]]:
			t.Errorf("%q after %q", entry, last[entry[0]])
		}
		seen[entry] = true
		last[entry[0]] = max(last[entry[0]], entry)
	}
	for entry := range c.durable {
		if !seen[entry] {
			t.Errorf("%q was durable and is lost", entry)
		}
	}
}

// TestFault079InUse has two processes for one directory, and two queues of one process.
func TestFault079InUse(t *testing.T) {
	dir := t.TempDir()
	cmd, in, out := child(t, "hold", dir)
	if !out.Scan() || out.Text() != "open" {
		t.Fatalf("%q, %v", out.Text(), out.Err())
	}
	_, err := Open(dir, Options{})
	if text := fmt.Sprint(err); !errors.Is(err, ErrInUse) || !strings.Contains(text, strconv.Itoa(cmd.Process.Pid)) || strings.Contains(text, "\n") {
		t.Errorf("got %v, want ErrInUse and process %d", err, cmd.Process.Pid)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	q := mustOpen(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	mustAppend(t, q, "entry")
	mustClose(t, q)
	checkEntries(t, drain(t, mustOpen(t, dir, Options{})), []string{"entry"})
}
