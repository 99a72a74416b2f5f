package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/reports"
)

const (
	// idle is how long a sign-in lasts while nobody looks, and longest how long at most.
	idle    = time.Hour
	longest = 12 * time.Hour
	// mostVisits is how many people can be signed in at a time. The one who has looked at nothing for the longest goes.
	mostVisits = 10_000
	cookieName = "aibridged_console"
)

// visits are those who are signed in. What the browser has is random, and is kept as a hash: no token is.
type visits struct {
	mu    sync.Mutex
	byKey map[[sha256.Size]byte]*signIn // Guarded by mu.
}

// signIn is one browser that is signed in.
type signIn struct {
	keyID  string
	secret string // Of the forms.
	zone   *time.Location
	began  time.Time
	last   time.Time // Guarded by visits.mu.
}

func newVisits() *visits { return &visits{byKey: map[[sha256.Size]byte]*signIn{}} }

// add signs a browser in, and returns its cookie's value.
func (v *visits) add(keyID string, zone *time.Location, now time.Time) (value string) {
	value = rand.Text()
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.byKey) >= mostVisits {
		v.makeRoom(now)
	}
	v.byKey[sha256.Sum256([]byte(value))] = &signIn{keyID: keyID, secret: rand.Text(), zone: zone, began: now, last: now}
	return value
}

// makeRoom forgets who is signed in no longer and, if that is nobody, who has looked at nothing for the longest.
func (v *visits) makeRoom(now time.Time) {
	var oldest [sha256.Size]byte
	for key, one := range v.byKey {
		if one.over(now) {
			delete(v.byKey, key)
			continue
		}
		if first := v.byKey[oldest]; first == nil || one.last.Before(first.last) {
			oldest = key
		}
	}
	if len(v.byKey) >= mostVisits {
		delete(v.byKey, oldest)
	}
}

func (s *signIn) over(now time.Time) bool {
	return now.Sub(s.last) > idle || now.Sub(s.began) > longest
}

// find returns the sign-in of a cookie's value, or nil.
func (v *visits) find(value string, now time.Time) *signIn {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := sha256.Sum256([]byte(value))
	one := v.byKey[key]
	if one == nil {
		return nil
	}
	if one.over(now) {
		delete(v.byKey, key)
		return nil
	}
	one.last = now
	return one
}

func (v *visits) remove(value string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byKey, sha256.Sum256([]byte(value)))
}

// visit is a request of somebody who is signed in.
type visit struct {
	*http.Request

	key    aibridgedserver.APIKey
	viewer reports.Viewer
	signIn *signIn
	zone   *time.Location
	now    time.Time
}

// signedIn hands on the requests of who is signed in. Of others it shows the page for that. A request that changes
// something must have the secret of the forms.
func (c *Console) signedIn(next func(http.ResponseWriter, *visit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visitOf(r)
		isNobody := errors.Is(err, aibridgedserver.ErrNotSignedIn)
		switch {
		case isNobody && isReading(r):
			http.Redirect(w, r, c.signInPath(r), http.StatusSeeOther)
		case isNobody:
			http.Error(w, "sign in first", http.StatusForbidden)
		case err != nil:
			c.fail(w, v, err)
		case !isReading(r) && !v.hasSecret(w):
			http.Error(w, "the form is out of date: load the page anew", http.StatusForbidden)
		default:
			next(w, v)
		}
	}
}

func isReading(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// visitOf returns who sends a request. The visit is never nil.
func (c *Console) visitOf(r *http.Request) (*visit, error) {
	v := &visit{Request: r, now: time.Now(), zone: time.UTC}
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return v, aibridgedserver.ErrNotSignedIn
	}
	found := c.visits.find(cookie.Value, v.now)
	if found == nil {
		return v, aibridgedserver.ErrNotSignedIn
	}
	key, err := c.keys.SignedIn(r.Context(), found.keyID)
	if err != nil {
		return v, err
	}
	if key.UserID == "" { // It would be the operator's viewer, whose looks are not noted.
		return v, aibridgedserver.ErrNotSignedIn
	}
	v.signIn, v.key, v.zone = found, key, found.zone
	v.viewer = reports.Viewer{UserID: key.UserID, APIKeyID: key.ID, Admin: key.Admin}
	if zone, err := zoneOf(r.URL.Query().Get("zone")); err == nil && zone != nil {
		v.zone = zone
	}
	return v, nil
}

// longestForm bounds the body of a form.
const longestForm = 16 << 10

func (v *visit) hasSecret(w http.ResponseWriter) bool {
	v.Body = http.MaxBytesReader(w, v.Body, longestForm)
	return subtle.ConstantTimeCompare([]byte(v.PostFormValue("secret")), []byte(v.signIn.secret)) == 1
}
