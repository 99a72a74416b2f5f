package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cdr.dev/slog/v3"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/internal/strangers"
)

// signInPath returns the address of the page for signing in, which leads back to what was asked for.
func (c *Console) signInPath(r *http.Request) string {
	back := strings.TrimPrefix(r.URL.RequestURI(), c.options.Path)
	if back == "" {
		return c.options.Path + "sign-in"
	}
	return c.options.Path + "sign-in?" + url.Values{"back": {back}}.Encode()
}

// signInForm is what the page for signing in shows.
type signInForm struct{ Back, Problem string }

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	c.showSignIn(w, r, http.StatusOK, signInForm{Back: r.URL.Query().Get("back")})
}

func (c *Console) showSignIn(w http.ResponseWriter, r *http.Request, status int, form signInForm) {
	v := &visit{Request: r, now: time.Now(), zone: time.UTC}
	if err := c.write(w, v, status, &answer{view: "sign_in", title: "Sign in", data: form}); err != nil {
		c.options.Logger.Error(r.Context(), "the page for signing in could not be made", slog.Error(err))
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

// signIn takes a token, once: the browser gets a cookie for it.
func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, longestForm)
	form := signInForm{Back: r.PostFormValue("back")}
	token := strings.TrimSpace(r.PostFormValue("token"))
	key, err := c.keyOf(r.Context(), token)
	switch {
	case errors.Is(err, strangers.ErrTooMany):
		w.Header().Set("Retry-After", "2")
		form.Problem = "Too many tokens are tried that are not valid. Try again."
		c.showSignIn(w, r, http.StatusServiceUnavailable, form)
		return
	case errors.Is(err, errBusy):
		form.Problem = "Too many look at once. Try again."
		c.showSignIn(w, r, http.StatusServiceUnavailable, form)
		return
	case errors.Is(err, aibridgedserver.ErrNotSignedIn) || errors.Is(err, strangers.ErrRefused) || err == nil && key.UserID == "":
		form.Problem = "This token is not valid."
		c.showSignIn(w, r, http.StatusForbidden, form)
		return
	case err != nil:
		c.options.Logger.Error(r.Context(), "a token could not be looked up", slog.Error(err))
		form.Problem = "The token could not be looked up. Try again."
		c.showSignIn(w, r, http.StatusServiceUnavailable, form)
		return
	}
	zone, err := zoneOf(r.PostFormValue("zone"))
	if err != nil || zone == nil {
		zone = time.UTC
	}
	cookie := c.cookie(r, c.visits.add(key.ID, zone, time.Now()))
	cookie.MaxAge = int(longest.Seconds())
	http.SetCookie(w, cookie)
	http.Redirect(w, r, c.backPath(form.Back), http.StatusSeeOther)
}

// keyOf returns the key of a token. Tokens that are not valid are asked about as often as those of API requests: see package
// strangers. Who waits for that keeps no others from looking.
func (c *Console) keyOf(ctx context.Context, token string) (key aibridgedserver.APIKey, err error) {
	err = c.strangers.Ask(ctx, token, func(enter strangers.Enter) error {
		leave, err := enter(ctx)
		if err != nil {
			return err
		}
		defer leave()
		key, err = inTurn(ctx, c, func() (aibridgedserver.APIKey, error) { return c.keys.SignIn(ctx, token) })
		return err
	})
	return key, err
}

// isRefusal reports whether an error says that a token is not valid.
func isRefusal(err error) bool { return errors.Is(err, aibridgedserver.ErrNotSignedIn) }

// backPath returns the address below the console's path that a text names, without its first part.
func (c *Console) backPath(back string) string {
	to, err := url.Parse(back)
	if err != nil || to.IsAbs() || to.Host != "" || strings.HasPrefix(to.Path, "/") || strings.ContainsAny(back, "\\\r\n") ||
		strings.Contains("/"+to.Path+"/", "/../") || strings.HasPrefix(to.Path, "sign-") {
		return c.options.Path
	}
	return c.options.Path + back
}

func (c *Console) signOut(w http.ResponseWriter, v *visit) {
	if old, err := v.Cookie(cookieName); err == nil {
		c.visits.remove(old.Value)
	}
	gone := c.cookie(v.Request, "")
	gone.MaxAge = -1
	http.SetCookie(w, gone)
	http.Redirect(w, v.Request, c.options.Path+"sign-in", http.StatusSeeOther)
}

// cookie returns the cookie of a sign-in. It is for encrypted connections only where the browser has one, also to a proxy
// in front: who forges that header makes a cookie of their own that does not come back.
func (c *Console) cookie(r *http.Request, value string) *http.Cookie {
	return &http.Cookie{
		Name: cookieName, Value: value, Path: c.options.Path, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	}
}

// zoneOf returns the time zone of a name, or nil for none.
func zoneOf(name string) (*time.Location, error) {
	if name == "" || name == "Local" || len(name) > 64 {
		return nil, nil
	}
	return time.LoadLocation(name)
}
