package aibridged_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"storj.io/drpc/drpcerr"

	"github.com/coder/aibridged"
	"github.com/coder/aibridged/controlplane"
	"github.com/coder/aibridged/internal/testkit"
	"github.com/coder/aibridged/proto"
)

// door is a control plane that counts the questions about each token and answers as a test says.
type door struct {
	mu     sync.Mutex
	asked  map[string]int // Guarded by mu.
	answer func(token string) error
}

func (d *door) authorize(_ context.Context, r *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
	d.mu.Lock()
	d.asked[r.GetKey()]++
	d.mu.Unlock()
	if err := d.answer(r.GetKey()); err != nil {
		return nil, err
	}
	return &proto.IsAuthorizedResponse{OwnerId: testkit.OwnerID, ApiKeyId: testkit.APIKeyID, Username: testkit.Username}, nil
}

// questions returns how often the control plane was asked about a token, and about all others.
func (d *door) questions(token string) (own, others int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for asked, n := range d.asked {
		if asked == token {
			own += n
		} else {
			others += n
		}
	}
	return own, others
}

// atDoor runs a test with a gateway in a synctest bubble. Knock sends a request with a token that is refused, or else
// answered with 404, since it is for a provider that is not there.
func atDoor(t *testing.T, answer func(token string) error, test func(t *testing.T, d *door, knock func(token string) *httptest.ResponseRecorder)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &door{asked: map[string]int{}, answer: answer}
		server := newMemoryServer(t, controlplane.InProcess(&testkit.ControlPlane{Authorize: d.authorize}), nil)
		test(t, d, func(token string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			server.ServeHTTP(w, newRequest("/nobody/v1/messages", "X-Api-Key", token))
			return w
		})
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestRefusedTokenIsAskedAboutOnce tries a token that the control plane refuses, many times at once and one after the
// other: it is asked about once in three seconds. A token that becomes valid works at the latest after these.
func TestRefusedTokenIsAskedAboutOnce(t *testing.T) {
	var valid atomic.Bool
	atDoor(t, func(string) error {
		time.Sleep(100 * time.Millisecond) // So that all requests are there before the first answer.
		if valid.Load() {
			return nil
		}
		return errors.New("unknown")
	}, func(t *testing.T, d *door, knock func(string) *httptest.ResponseRecorder) {
		tryAll := func(want int) {
			t.Helper()
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if w := knock("bad"); w.Code != want || want == 403 && !strings.Contains(w.Body.String(), aibridged.ErrUnauthorized.Error()) {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				})
			}
			all.Wait()
		}
		tryAll(403)
		tryAll(403)
		if own, _ := d.questions("bad"); own != 1 {
			t.Errorf("asked %d times", own)
		}
		time.Sleep(3 * time.Second)
		tryAll(403)
		if own, _ := d.questions("bad"); own != 2 {
			t.Errorf("asked %d times in two lives", own)
		}
		valid.Store(true)
		tryAll(403)
		time.Sleep(3 * time.Second)
		tryAll(404)
	})
}

// TestAcceptedTokenIsAskedAboutEachTime checks that a token which was accepted is not taken for valid without a
// question, and that its revocation is noticed at the next request.
func TestAcceptedTokenIsAskedAboutEachTime(t *testing.T) {
	var revoked atomic.Bool
	atDoor(t, func(string) error {
		if revoked.Load() {
			return errors.New("revoked")
		}
		return nil
	}, func(t *testing.T, d *door, knock func(string) *httptest.ResponseRecorder) {
		for range 3 {
			if w := knock("good"); w.Code != 404 {
				t.Errorf("%d", w.Code)
			}
		}
		if own, _ := d.questions("good"); own != 3 {
			t.Errorf("asked %d times, want 3", own)
		}
		revoked.Store(true)
		if w := knock("good"); w.Code != 403 {
			t.Errorf("revoked: %d", w.Code)
		}
	})
}

// TestOutageIsNoRefusal checks that only refusals are remembered: as soon as an outage ends, the token works.
func TestOutageIsNoRefusal(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	atDoor(t, func(string) error {
		if away.Load() {
			return drpcerr.WithCode(errors.New("away"), 14)
		}
		return nil
	}, func(t *testing.T, _ *door, knock func(string) *httptest.ResponseRecorder) {
		for range 1000 {
			if w := knock("good"); w.Code != 503 {
				t.Fatalf("%d", w.Code)
			}
		}
		away.Store(false)
		if w := knock("good"); w.Code != 404 {
			t.Errorf("after the outage: %d", w.Code)
		}
	})
}

// TestFloodOfTokens tries ten thousand tokens a second that nobody has, each once, while a user with a token that was
// accepted works. The control plane is asked about a bounded number of them, and the user is never held up.
func TestFloodOfTokens(t *testing.T) {
	atDoor(t, func(token string) error {
		if strings.HasPrefix(token, "good") {
			return nil
		}
		time.Sleep(100 * time.Millisecond) // A slow control plane.
		return errors.New("unknown")
	}, func(t *testing.T, d *door, knock func(string) *httptest.ResponseRecorder) {
		if w := knock("good"); w.Code != 404 {
			t.Fatal(w.Code)
		}
		var all sync.WaitGroup
		var limited atomic.Int64
		const seconds = 5
		for second := range seconds {
			for i := range 10_000 {
				all.Go(func() {
					switch w := knock(fmt.Sprintf("bad-%d-%d", second, i)); {
					case w.Code == 503 && w.Header().Get("Retry-After") == "1":
						limited.Add(1)
					case w.Code != 403:
						t.Errorf("%d", w.Code)
					}
				})
			}
			for range 10 {
				began := time.Now()
				if w := knock("good"); w.Code != 404 || time.Since(began) > 0 {
					t.Errorf("a user was answered with %d after %v", w.Code, time.Since(began))
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		all.Wait()
		// 400 at once, 100 a second, and those that run when the limit is met.
		if _, others := d.questions("good"); others > 400+100*(seconds+2)+64 || others < 400 {
			t.Errorf("the control plane was asked %d times", others)
		}
		if limited.Load() == 0 {
			t.Error("no request was put off")
		}
		time.Sleep(time.Second)
		if w := knock("good-and-new"); w.Code != 404 {
			t.Errorf("a new user after the flood: %d", w.Code)
		}
	})
}

// TestNewUserInAFlood has a hundred clients try tokens that nobody has, each as fast as it is answered, while users come
// whose tokens the gateway has not seen yet: all of them are served, within the time that a turn may take.
func TestNewUserInAFlood(t *testing.T) {
	atDoor(t, func(token string) error {
		time.Sleep(time.Millisecond)
		if strings.HasPrefix(token, "good") {
			return nil
		}
		return errors.New("unknown")
	}, func(t *testing.T, d *door, knock func(string) *httptest.ResponseRecorder) {
		var all sync.WaitGroup
		began := time.Now()
		for i := range 100 {
			all.Go(func() {
				for n := 0; time.Since(began) < 20*time.Second; n++ {
					knock(fmt.Sprintf("bad-%d-%d", i, n))
				}
			})
		}
		time.Sleep(10 * time.Second)
		for i := range 5 {
			asked := time.Now()
			if w := knock(fmt.Sprintf("good-%d", i)); w.Code != 404 || time.Since(asked) > 3*time.Second {
				t.Errorf("a new user was answered with %d after %v", w.Code, time.Since(asked))
			}
		}
		all.Wait()
		if _, others := d.questions("good"); others > 400+100*24+64 {
			t.Errorf("the control plane was asked %d times", others)
		}
	})
}

// TestStrangersWithoutAnswers has more users come at once than may be asked about, to a control plane that never answers:
// all get a 503 after ten seconds, and none a 500.
func TestStrangersWithoutAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		control := &testkit.ControlPlane{Authorize: func(ctx context.Context, _ *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		server := newMemoryServer(t, controlplane.InProcess(control), nil)
		var all sync.WaitGroup
		for i := range 100 {
			for range 2 { // The second waits for the answer about the first.
				all.Go(func() {
					w := httptest.NewRecorder()
					server.ServeHTTP(w, newRequest("/nobody/v1/messages", "X-Api-Key", fmt.Sprintf("good-%d", i)))
					if w.Code != 503 || w.Header().Get("Retry-After") == "" {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				})
			}
		}
		began := time.Now()
		all.Wait()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("after %v", took)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestManyNewUsers has five thousand users come at once after a restart, with a control plane that takes its time: all
// are served.
func TestManyNewUsers(t *testing.T) {
	atDoor(t, func(string) error {
		time.Sleep(10 * time.Millisecond)
		return nil
	}, func(t *testing.T, _ *door, knock func(string) *httptest.ResponseRecorder) {
		var all sync.WaitGroup
		for i := range 5000 {
			all.Go(func() {
				if w := knock(fmt.Sprintf("good-%d", i)); w.Code != 404 {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		all.Wait()
	})
}

// TestImpatientStranger has a client leave while the control plane is asked about its token: another request with that
// token asks again.
func TestImpatientStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &door{asked: map[string]int{}, answer: func(string) error { return nil }}
		hang := make(chan struct{})
		var first atomic.Bool
		control := &testkit.ControlPlane{Authorize: func(ctx context.Context, r *proto.IsAuthorizedRequest) (*proto.IsAuthorizedResponse, error) {
			if !first.Swap(true) {
				<-ctx.Done()
				close(hang)
				return nil, ctx.Err()
			}
			return d.authorize(ctx, r)
		}}
		server := newMemoryServer(t, controlplane.InProcess(control), nil)
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			server.ServeHTTP(httptest.NewRecorder(), newRequest("/nobody/v1/messages", "X-Api-Key", "good").WithContext(ctx))
		})
		synctest.Wait()
		all.Go(func() {
			w := httptest.NewRecorder()
			server.ServeHTTP(w, newRequest("/nobody/v1/messages", "X-Api-Key", "good"))
			if w.Code != 404 {
				t.Errorf("the one who stayed: %d %s", w.Code, w.Body)
			}
		})
		synctest.Wait()
		leave()
		<-hang
		all.Wait()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}
