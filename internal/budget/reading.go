package budget

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
)

const (
	// readEvery is how old what was read may be.
	readEvery = time.Second
	// readPatience bounds a reading.
	readPatience = 5 * time.Second
	// mostMembers is of how many users the groups are remembered.
	mostMembers = 10_000
)

// member is a user with the groups that the user belongs to.
type member struct {
	groups  []string
	triedAt time.Time // When the latest reading began.
	failed  error
	reading chan struct{} // As in an account.
}

// groupsOf returns the groups of a user. If they cannot be read and are not remembered, it fails with a *[Refusal].
func (l *Ledger) groupsOf(ctx context.Context, user string) ([]string, error) {
	l.mu.Lock()
	m := l.members[user]
	if m == nil {
		if len(l.members) >= mostMembers {
			clear(l.members)
		}
		m = &member{}
		l.members[user] = m
	}
	isFresh := func(now time.Time) bool { return !m.triedAt.IsZero() && now.Sub(m.triedAt) < readEvery }
	for m.reading != nil {
		if err := l.await(ctx, m.reading); err != nil {
			return nil, err
		}
	}
	if !isFresh(time.Now()) {
		done := make(chan struct{})
		m.reading, m.triedAt = done, time.Now()
		l.mu.Unlock()
		groups, err := l.readGroups(ctx, user)
		l.mu.Lock()
		m.reading, m.failed = nil, err
		close(done)
		if err == nil {
			m.groups = groups
		}
	}
	defer l.mu.Unlock()
	if m.failed != nil && m.groups == nil {
		return nil, &Refusal{Reason: Unknown, Budget: Budget{Subject: Subject{User, user}, Name: user}, Now: time.Now()}
	}
	return m.groups, nil
}

// await waits for a reading. It is called with mu and returns with it, unless it fails.
func (l *Ledger) await(ctx context.Context, reading <-chan struct{}) error {
	l.mu.Unlock()
	select {
	case <-reading:
		l.mu.Lock()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *Ledger) readGroups(ctx context.Context, user string) (groups []string, err error) {
	defer l.note(&err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readPatience) // Others wait for it, too.
	defer cancel()
	groups, err = l.source.Groups(ctx, user)
	if groups == nil {
		groups = []string{}
	}
	return groups, err
}

// refresh reads an account anew if it is not fresh. What cannot be read is as it was. Its error is that of ctx.
func (l *Ledger) refresh(ctx context.Context, a *account) error {
	l.mu.Lock()
	for a.reading != nil {
		if err := l.await(ctx, a.reading); err != nil {
			return err
		}
	}
	now := time.Now()
	if a.isFresh(now) {
		l.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	a.reading, a.triedAt = done, now
	budget, ids := a.budget, a.interceptions()
	l.mu.Unlock()
	snapshot, err := l.readSpent(ctx, budget, ids)
	l.mu.Lock()
	a.reading, a.failed = nil, err
	close(done)
	if a.budget.Period != budget.Period { // It has changed meanwhile.
		a.triedAt = time.Time{}
		l.mu.Unlock()
		return l.refresh(ctx, a)
	}
	var warning *Warning
	if err == nil {
		a.renew(snapshot, now)
		warning = a.warn(time.Now())
	}
	l.mu.Unlock()
	if warning != nil && l.options.Warn != nil {
		l.options.Warn(*warning)
	}
	return nil
}

func (l *Ledger) readSpent(ctx context.Context, of Budget, ids []uuid.UUID) (s Snapshot, err error) {
	defer l.note(&err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readPatience) // Others wait for it, too.
	defer cancel()
	return l.source.Spent(ctx, of, ids)
}

// errPanicked is the error of a reading that has panicked.
var errPanicked = errors.New("the reading has panicked")

// note tells of the error of a reading, if the one before it had none.
func (l *Ledger) note(err *error) {
	if recover() != nil {
		*err = errPanicked
	}
	l.mu.Lock()
	isFirst := *err != nil && !l.failing
	l.failing = *err != nil
	l.mu.Unlock()
	if isFirst && l.options.Failed != nil {
		l.options.Failed(*err)
	}
}
