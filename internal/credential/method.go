package credential

import "net/http"

// Method returns a request's method for a log. A client may put anything there, a token too, so one that HTTP does not
// define is not repeated.
func Method(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}
