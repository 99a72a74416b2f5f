package aibridged_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/dbpubsub"
)

// reloaderFunc makes a function a ProviderReloader.
type reloaderFunc func(ctx context.Context) error

func (f reloaderFunc) Reload(ctx context.Context) error { return f(ctx) }

// fakePubsub is a Pubsub with one subscription, whose listener the test calls itself.
type fakePubsub struct {
	dbpubsub.Pubsub // Nil: no other method is called.

	err       error // The error of SubscribeWithErr.
	atOnce    bool  // SubscribeWithErr calls the listener before it returns.
	event     string
	listener  dbpubsub.ListenerWithErr
	cancelled int // How often the subscription was cancelled.
}

func (p *fakePubsub) SubscribeWithErr(event string, listener dbpubsub.ListenerWithErr) (func(), error) {
	p.event, p.listener = event, listener
	if p.atOnce {
		listener(context.Background(), nil, nil)
	}
	return func() { p.cancelled++ }, p.err
}

// reloads is a ProviderReloader that notes when it is called.
type reloads struct {
	t    *testing.T
	made time.Time
	// reload is what a reload does, given its number from 1. Nil: it succeeds at once.
	reload func(ctx context.Context, number int) error

	running sync.Mutex
	mu      sync.Mutex
	began   []time.Duration // Guarded by mu.
}

func newReloads(t *testing.T, reload func(ctx context.Context, number int) error) *reloads {
	return &reloads{t: t, made: time.Now(), reload: reload}
}

func (r *reloads) Reload(ctx context.Context) error {
	if !r.running.TryLock() {
		r.t.Error("reloads overlap")
		return nil
	}
	defer r.running.Unlock()
	r.mu.Lock()
	r.began = append(r.began, time.Since(r.made))
	number := len(r.began)
	r.mu.Unlock()
	if r.reload == nil {
		return nil
	}
	return r.reload(ctx, number)
}

// at returns when the reloads began, counted from when r was made.
func (r *reloads) at() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.began)
}

// subscribeReload subscribes to a Pubsub in memory until the end of the test.
func subscribeReload(t *testing.T, reload func(ctx context.Context, number int) error) (_ *reloads, log *logLines, publish func()) {
	t.Helper()
	ps := dbpubsub.NewInMemory()
	r := newReloads(t, reload)
	log = &logLines{}
	cancel, err := aibridged.SubscribeProviderReload(t.Context(), ps, r, slog.Make(log))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := ps.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, log, func() {
		if err := ps.Publish(dbpubsub.ProvidersChanged, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestReloadRefuses(t *testing.T) {
	t.Parallel()
	errDown := errors.New("the database is down")
	reloader := reloaderFunc(func(context.Context) error {
		t.Error("reloaded")
		return nil
	})
	for name, test := range map[string]struct {
		ps       dbpubsub.Pubsub
		reloader aibridged.ProviderReloader
		is       error
	}{
		"no pubsub":       {nil, reloader, nil},
		"no reloader":     {&fakePubsub{}, nil, nil},
		"no subscription": {&fakePubsub{err: errDown}, reloader, errDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cancel, err := aibridged.SubscribeProviderReload(t.Context(), test.ps, test.reloader, slog.Logger{})
			if cancel != nil || err == nil || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// SubscribeProviderReload listens first, then reloads, then returns.
func TestReloadListensFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ps := &fakePubsub{}
		reloaded := 0
		cancel, err := aibridged.SubscribeProviderReload(t.Context(), ps, reloaderFunc(func(context.Context) error {
			reloaded++
			if ps.listener == nil {
				t.Error("reloaded before it listened")
			}
			return nil
		}), slog.Logger{})
		if err != nil {
			t.Fatal(err)
		}
		if reloaded != 1 || ps.event != "ai_providers_changed" {
			t.Errorf("reloaded %d times before it returned, listens to %q", reloaded, ps.event)
		}
		cancel()
	})
}

// The first reload sees a change that was notified before it.
func TestReloadSeesAChangeBeforeTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newReloads(t, nil)
		cancel, err := aibridged.SubscribeProviderReload(t.Context(), &fakePubsub{atOnce: true}, r, slog.Logger{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := len(r.at()); got != 1 {
			t.Errorf("%d reloads, want 1", got)
		}
		cancel()
	})
}

// A change that comes while the first reload runs is not lost.
func TestReloadSeesAChangeDuringTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ps := &fakePubsub{}
		r := newReloads(t, func(ctx context.Context, number int) error {
			if number == 1 {
				ps.listener(ctx, nil, nil)
			}
			return nil
		})
		cancel, err := aibridged.SubscribeProviderReload(t.Context(), ps, r, slog.Logger{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(r.at()) != 2 {
			t.Errorf("%d reloads, want 2", len(r.at()))
		}
		cancel()
	})
}

// A change causes a reload at once, or one second after the previous reload.
func TestReloadOnEveryChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _, publish := subscribeReload(t, nil)
		for range 3 {
			time.Sleep(time.Minute)
			publish()
			synctest.Wait()
		}
		publish()
		time.Sleep(time.Minute)
		want := []time.Duration{0, time.Minute, 2 * time.Minute, 3 * time.Minute, 3*time.Minute + time.Second}
		if !slices.Equal(r.at(), want) {
			t.Errorf("reloads at %v, want %v", r.at(), want)
		}
	})
}

// All notifications during a reload cause one more reload.
func TestFault108NotificationsDuringAReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		letGo := make(chan struct{})
		r, _, publish := subscribeReload(t, func(_ context.Context, number int) error {
			if number == 2 {
				<-letGo
			}
			return nil
		})
		publish()
		synctest.Wait() // The second reload runs.
		for range 1000 {
			publish()
		}
		synctest.Wait()
		if len(r.at()) != 2 {
			t.Errorf("%d reloads while the second runs", len(r.at()))
		}
		close(letGo)
		time.Sleep(time.Hour)
		if len(r.at()) != 3 {
			t.Errorf("%d reloads in the end, want 3", len(r.at()))
		}
	})
}

// 1,000 notifications in a second cause two reloads, also where a reload takes no time, and where all reloads fail.
func TestFault108NotificationsInASecond(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{"succeeding": nil, "failing": errBuild} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, _, publish := subscribeReload(t, func(_ context.Context, number int) error {
					if number > 1 {
						return err
					}
					return nil
				})
				time.Sleep(time.Hour)
				for range 1000 {
					publish()
					time.Sleep(time.Millisecond)
				}
				synctest.Wait()
				if want := []time.Duration{0, time.Hour, time.Hour + time.Second}; !slices.Equal(r.at(), want) {
					t.Errorf("reloads at %v, want %v", r.at(), want)
				}
			})
		})
	}
}

// SubscribeProviderReload does not fail when a reload fails or panics: it logs that, and tries again with growing
// pauses.
func TestFault109ReloadFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() error{
		"error": func() error { return fmt.Errorf("reload: %w", errBuild) },
		"panic": func() error { panic(errBuild) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const failures = 10
				r, log, publish := subscribeReload(t, func(_ context.Context, number int) error {
					if number == failures+1 || number > failures+2 {
						return nil
					}
					return fail()
				})
				time.Sleep(time.Hour)
				if len(r.at()) != failures+1 {
					t.Fatalf("%d reloads, want %d: none after the success", len(r.at()), failures+1)
				}
				if got := log.messages(slog.LevelWarn); len(got) != failures {
					t.Errorf("%d warnings in the log, want %d", len(got), failures)
				}
				if got := log.messages(slog.LevelError); len(got) != 0 {
					t.Errorf("errors in the log: %v", got)
				}
				for _, cause := range log.causes() {
					if !errors.Is(cause, errBuild) {
						t.Errorf("the log has the error %v, want one that wraps %v", cause, errBuild)
					}
				}
				if got := len(log.causes()); got != failures {
					t.Errorf("%d lines have an error, want %d", got, failures)
				}
				if log.has("stack") != (name == "panic") {
					t.Errorf("a stack in the log: %t", log.has("stack"))
				}
				at := r.at()
				// The first reload is not followed by the pause of one second that follows the others.
				checkPause(t, at[1]-at[0], time.Second)
				for i, backoff := 1, 2*time.Second; i < failures; i, backoff = i+1, min(2*backoff, time.Minute) {
					checkPause(t, at[i+1]-at[i]-time.Second, backoff)
				}

				publish() // After a success, the next failure begins with the shortest pause.
				time.Sleep(time.Hour)
				if len(r.at()) != failures+3 {
					t.Fatalf("%d reloads, want %d", len(r.at()), failures+3)
				}
				at = r.at()
				checkPause(t, at[failures+2]-at[failures+1]-time.Second, time.Second)
			})
		})
	}
}

// checkPause fails the test unless pause is between half of backoff and backoff.
func checkPause(t *testing.T, pause, backoff time.Duration) {
	t.Helper()
	if pause < backoff/2 || pause > backoff {
		t.Errorf("a pause of %s, want %s to %s", pause, backoff/2, backoff)
	}
}

// A change is not delayed by the back-off after earlier failures.
func TestReloadOnAChangeDuringBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fine atomic.Bool
		r, _, publish := subscribeReload(t, func(context.Context, int) error {
			if !fine.Load() {
				return errBuild
			}
			return nil
		})
		for len(r.at()) < 10 {
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second) // Within the back-off, which is at least half a minute, and after the pause.
		fine.Store(true)
		before := len(r.at())
		publish()
		synctest.Wait()
		if len(r.at()) != before+1 {
			t.Errorf("%d reloads after the change", len(r.at())-before)
		}
		time.Sleep(time.Hour)
		if len(r.at()) != before+1 {
			t.Errorf("%d reloads after the success", len(r.at())-before-1)
		}
	})
}

// A lost or broken notification causes a reload like any other.
func TestFault110NotificationsAreLost(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]error{"dropped": dbpubsub.ErrDroppedMessages, "other": errBuild} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ps, r, log := &fakePubsub{}, newReloads(t, nil), &logLines{}
				cancel, err := aibridged.SubscribeProviderReload(t.Context(), ps, r, slog.Make(log))
				if err != nil {
					t.Fatal(err)
				}
				ps.listener(t.Context(), nil, lost)
				synctest.Wait()
				if len(r.at()) != 2 {
					t.Errorf("%d reloads, want 2", len(r.at()))
				}
				if got := log.messages(slog.LevelWarn); len(got) != 1 {
					t.Errorf("warnings %v", got)
				}
				cancel()
			})
		})
	}
}

// The returned cancel ends the context of a running reload and waits for it; nothing happens afterwards.
func TestReloadCancelWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ps := &fakePubsub{}
		letGo := make(chan struct{})
		r := newReloads(t, func(ctx context.Context, number int) error {
			if number == 1 {
				return nil
			}
			<-ctx.Done()
			<-letGo
			return ctx.Err()
		})
		log := &logLines{}
		cancel, err := aibridged.SubscribeProviderReload(t.Context(), ps, r, slog.Make(log))
		if err != nil {
			t.Fatal(err)
		}
		ps.listener(t.Context(), nil, nil)
		synctest.Wait()
		ps.listener(t.Context(), nil, nil) // One more reload is due.

		cancelled := make(chan struct{})
		go func() {
			defer close(cancelled)
			cancel()
		}()
		synctest.Wait()
		select {
		case <-cancelled:
			t.Error("cancel did not wait for the reload")
		default:
		}
		close(letGo)
		<-cancelled
		cancel() // A second call does nothing.
		ps.listener(t.Context(), nil, nil)
		time.Sleep(time.Hour)
		if len(r.at()) != 2 || ps.cancelled != 1 {
			t.Errorf("%d reloads, want 2; the subscription was cancelled %d times", len(r.at()), ps.cancelled)
		}
		if got := log.messages(slog.LevelWarn); len(got) != 0 {
			t.Errorf("warnings in the log: %v", got)
		}
	})
}

// The end of the context ends the subscription, whatever the loop is doing then.
func TestReloadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, reload := range map[string]func(ctx context.Context, number int) error{
		"idle":       nil,
		"in backoff": func(context.Context, int) error { return errBuild },
		"in a reload": func(ctx context.Context, number int) error {
			if number == 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(t.Context())
				ps, r := &fakePubsub{}, newReloads(t, reload)
				if _, err := aibridged.SubscribeProviderReload(ctx, ps, r, slog.Logger{}); err != nil {
					t.Fatal(err)
				}
				ps.listener(ctx, nil, nil)
				synctest.Wait()
				end()
				ps.listener(ctx, nil, nil)
				synctest.Wait()
				before := len(r.at())
				if ps.cancelled != 1 {
					t.Errorf("the subscription was cancelled %d times", ps.cancelled)
				}
				time.Sleep(time.Hour)
				if len(r.at()) != before || before != 2 {
					t.Errorf("%d reloads, %d of them after the end", len(r.at()), len(r.at())-before)
				}
			})
		})
	}
}

// Where the context ends during the first reload, there is no second one.
func TestReloadEndsDuringTheFirst(t *testing.T) {
	t.Parallel()
	for range 20 { // The reload that is due races with the end of the context.
		synctest.Test(t, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			ps := &fakePubsub{}
			r := newReloads(t, func(ctx context.Context, _ int) error {
				ps.listener(ctx, nil, nil)
				end()
				return nil
			})
			cancel, err := aibridged.SubscribeProviderReload(ctx, ps, r, slog.Logger{})
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if got := len(r.at()); got != 1 {
				t.Fatalf("%d reloads, want 1", got)
			}
		})
	}
}
