package main

import (
	"fmt"
	"net/http"
	"strings"
)

// browsers decides which web pages may use the gateway through a browser: those of its own origin, and those of the
// origins that the configuration names. All other clients send no Origin and are not concerned.
type browsers struct {
	origins map[string]bool
	others  *http.CrossOriginProtection
}

// newBrowsers returns an error that says which origin is none.
func newBrowsers(origins []string) (*browsers, error) {
	b := &browsers{origins: map[string]bool{}, others: http.NewCrossOriginProtection()}
	for _, origin := range origins {
		if err := b.others.AddTrustedOrigin(origin); err != nil || origin != strings.ToLower(origin) || strings.Contains(origin, "*") {
			return nil, fmt.Errorf("cors_origins: %q is not an origin as browsers send it: write a scheme and a host in small letters, such as https://app.example.com or http://localhost:3000", origin)
		}
		b.origins[origin] = true
	}
	return b, nil
}

const (
	originRefused = "web pages of other sites may not use this gateway: name the page's origin in cors_origins of the configuration"
	// preflightAge is how many seconds a browser may remember the answer to a preflight.
	preflightAge = "600"
)

// handler lets the web pages that may use the gateway do so, and refuses the others.
func (b *browsers) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origins := r.Header["Origin"]
		if len(origins) == 0 {
			if b.others.Check(r) != nil { // A browser that sends Sec-Fetch-Site alone.
				refuse(w, r, originRefused)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		isPreflight := r.Method == http.MethodOptions && len(r.Header["Access-Control-Request-Method"]) > 0
		isNamed := len(origins) == 1 && b.origins[origins[0]]
		switch {
		case isNamed && isPreflight:
			allow(w.Header(), origins[0])
			answerPreflight(w, r)
		case isNamed:
			allow(w.Header(), origins[0])
			w.Header().Set("Access-Control-Expose-Headers", "*")
			next.ServeHTTP(w, r)
		case isPreflight || len(origins) > 1 || b.others.Check(r) != nil:
			refuse(w, r, originRefused)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// allow lets pages of an origin read the answer, whatever it is.
func allow(header http.Header, origin string) {
	header.Set("Access-Control-Allow-Origin", origin)
	header.Add("Vary", "Origin")
}

// answerPreflight lets a browser send the request that it asks about. No header needs to be refused: the gateway uses no
// cookies, so a page can only send credentials that it has.
func answerPreflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
	if asked := r.Header["Access-Control-Request-Headers"]; len(asked) > 0 {
		header.Set("Access-Control-Allow-Headers", strings.Join(asked, ","))
	}
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		header.Set("Access-Control-Allow-Private-Network", "true")
	}
	header.Set("Access-Control-Max-Age", preflightAge)
	w.WriteHeader(http.StatusNoContent)
}
