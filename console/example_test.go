package console_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/coder/aibridged/aibridgedserver"
	"github.com/coder/aibridged/aibridgedserver/prices"
	"github.com/coder/aibridged/aibridgedserver/reports"
	"github.com/coder/aibridged/aibridgedserver/sqlite"
	"github.com/coder/aibridged/console"
)

// A host serves the page over its control plane.
func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "console-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqlite.Open(ctx, filepath.Join(dir, "control.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	server, err := aibridgedserver.New(ctx, db, aibridgedserver.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	book, err := prices.New(nil)
	if err != nil {
		log.Fatal(err)
	}

	page, err := console.New(reports.New(db, server, book), server, console.Options{Path: "/ai/console/"})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/ai/console/", page)

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ai/console/", nil))
	fmt.Println(w.Code, w.Header().Get("Location"))
	// Output: 303 /ai/console/sign-in
}
