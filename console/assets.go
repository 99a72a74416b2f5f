package console

import (
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"slices"
)

// assets are the files that pages refer to. The version is part of their addresses, so that browsers can keep them.
type assets struct {
	files   map[string][]byte
	version string
}

func readAssets() assets {
	a := assets{files: map[string][]byte{}}
	entries, _ := embedded.ReadDir("static") // It is in the program.
	sum := sha256.New()
	for _, entry := range entries {
		content, _ := embedded.ReadFile("static/" + entry.Name())
		a.files[entry.Name()] = content
		sum.Write(content)
	}
	a.version = hex.EncodeToString(sum.Sum(nil)[:8])
	return a
}

// serveAsset serves a file to everybody: the page for signing in needs some.
func (c *Console) serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	content, ok := c.assets.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	kind := mime.TypeByExtension(path.Ext(name))
	if known := []string{".css", ".js"}; !slices.Contains(known, path.Ext(name)) || kind == "" {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	if r.PathValue("version") == c.assets.version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(content) // The browser may have left.
}
