//go:build unix

package outbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// countingFiles counts the syncs of files.
type countingFiles struct {
	fileSystem
	syncs atomic.Int64
}

func (c *countingFiles) Open(path string, flags int) (file, error) {
	opened, err := c.fileSystem.Open(path, flags)
	if err != nil {
		return nil, err
	}
	return countingFile{opened, c}, nil
}

type countingFile struct {
	file
	counter *countingFiles
}

func (f countingFile) Sync() error {
	f.counter.syncs.Add(1)
	return f.file.Sync()
}

// BenchmarkAppendToSend has 64 appenders and one consumer, records of 500 bytes, and measures until the last one has
// been handed to send. The owner counts the calls of Observe.
func BenchmarkAppendToSend(b *testing.B) {
	for _, durability := range []Durability{Memory, Kernel, Sync} {
		b.Run(durabilityName(durability), func(b *testing.B) {
			files := &countingFiles{fileSystem: disk{}}
			told := 0
			q, err := Open(b.TempDir(), Options{
				Durability: durability, files: files,
				Observe: func(Kind, []byte) { told++ }, Head: func() []byte { return []byte("head") },
			})
			if err != nil {
				b.Fatal(err)
			}
			var batches atomic.Int64
			var consumer sync.WaitGroup
			consumer.Go(func() {
				_ = q.Deliver(b.Context(), DeliverOptions{}, func(context.Context, [][]byte) ([]Failure, error) {
					batches.Add(1)
					return nil, nil
				})
			})
			entry := bytes.Repeat([]byte("r"), 500)
			syncs, cpu := files.syncs.Load(), processTime(b)
			b.ReportAllocs()
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					commit, err := q.Append(entry)
					if err == nil {
						err = commit.Wait(b.Context())
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			if err := q.Flushed(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(processTime(b)-cpu)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(b.N)/float64(max(1, files.syncs.Load()-syncs)), "records/sync")
			b.ReportMetric(float64(b.N)/float64(max(1, batches.Load())), "records/batch")
			if err := q.Close(); err != nil {
				b.Fatal(err)
			}
			consumer.Wait()
			if told != b.N {
				b.Errorf("told of %d entries of %d", told, b.N)
			}
		})
	}
}

// BenchmarkInterceptions appends as a gateway does: two entries when a request begins and two when it ends, with work of
// 100 microseconds on the processor around them, as the rest of a request is. A whole answer waits once, at its end; a
// streamed one before its first byte too. It tells how many syncs an interception takes, and what it costs beyond its
// own work.
func BenchmarkInterceptions(b *testing.B) {
	for _, streamed := range []bool{false, true} {
		for _, clients := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("streamed=%v/clients=%d", streamed, clients), func(b *testing.B) {
				interceptions(b, clients, streamed)
			})
		}
	}
}

func interceptions(b *testing.B, clients int, streamed bool) {
	files := &countingFiles{fileSystem: disk{}}
	q := mustOpen(b, b.TempDir(), Options{files: files})
	stop := deliver(b, q, DeliverOptions{Linger: 10 * time.Millisecond}, func(context.Context, [][]byte) ([]Failure, error) { return nil, nil })
	entry := bytes.Repeat([]byte("r"), 400)
	var left atomic.Int64
	left.Store(int64(b.N))
	syncs, cpu := files.syncs.Load(), processTime(b)
	b.ReportAllocs()
	b.ResetTimer()
	var working sync.WaitGroup
	for range clients {
		working.Go(func() {
			for left.Add(-1) >= 0 {
				work(40 * time.Microsecond)
				begun, err := q.Append(entry, entry)
				work(40 * time.Microsecond)
				if err == nil && streamed {
					err = begun.Wait(b.Context())
				}
				if err != nil {
					b.Error(err)
				}
				ended, err := q.AppendReserved(entry, entry)
				if err == nil {
					err = ended.Wait(b.Context())
				}
				if err != nil {
					b.Error(err)
				}
				work(20 * time.Microsecond)
			}
		})
	}
	working.Wait()
	b.StopTimer()
	b.ReportMetric(float64(processTime(b)-cpu)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(files.syncs.Load()-syncs)/float64(b.N), "syncs/op")
	stop()
	mustClose(b, q)
}

// work takes the processor for about so long.
func work(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// BenchmarkBacklog measures a start with 100,000 records of 500 bytes, and their delivery from disk.
func BenchmarkBacklog(b *testing.B) {
	const records = 100_000
	dir := b.TempDir()
	q := mustOpen(b, dir, Options{Durability: Kernel})
	entry := bytes.Repeat([]byte("r"), 500)
	for range records {
		if _, err := q.Append(entry); err != nil {
			b.Fatal(err)
		}
	}
	mustClose(b, q)
	cursor := readFile(b, filepath.Join(dir, "cursor"))
	var start, delivery time.Duration
	for range b.N {
		b.StopTimer()
		writeFile(b, filepath.Join(dir, "cursor"), cursor)
		kept := names(b, dir, "*.log")
		for _, path := range kept {
			if err := os.Link(path, path+".kept"); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()

		begin := processTime(b)
		q := mustOpen(b, dir, Options{Durability: Kernel})
		start += processTime(b) - begin
		begin = processTime(b)
		delivered := 0
		stop := deliver(b, q, DeliverOptions{}, func(_ context.Context, entries [][]byte) ([]Failure, error) {
			delivered += len(entries)
			return nil, nil
		})
		flush(b, q)
		delivery += processTime(b) - begin
		stop()
		if delivered != records {
			b.Fatalf("%d records", delivered)
		}

		b.StopTimer()
		mustClose(b, q)
		for _, path := range kept {
			_ = os.Remove(path)
			if err := os.Rename(path+".kept", path); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(start)/float64(b.N)/records, "start-cpu-ns/record")
	b.ReportMetric(float64(delivery)/float64(b.N)/records, "delivery-cpu-ns/record")
}

func durabilityName(d Durability) string { return [...]string{"sync", "kernel", "memory"}[d] }

// processTime returns the CPU time of this process.
func processTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
