package leaseweb

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"
)

//go:embed assets
var assets embed.FS

//go:embed templates
var templateFiles embed.FS

// version changes with the assets, so that browsers may keep them.
var version = func() string {
	sum := sha256.New()
	for _, name := range []string{"page.css", "page.js", "icon.svg"} {
		b, _ := assets.ReadFile("assets/" + name)
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil)[:6])
}()

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"version": func() string { return version }, "clean": clean, "plus": func(a, b float64) float64 { return a + b },
}).ParseFS(templateFiles, "templates/*.html"))

// clean replaces what does not print: names and labels come from Redis, and anybody may have written them.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// A frame is what is around a page's changing part.
type frame struct {
	Base, Title, Stream string
	Live                template.HTML
	Note                *note
	Act, Login          bool

	List          bool // with what is searched for, and the order
	Search, Order string
}

// patienceForTurn is for how long a page waits for its turn to ask Redis, before it shows what is known.
const patienceForTurn = 1500 * time.Millisecond

// show asks Redis for what is not known and writes the whole page.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, p page) {
	ctx, cancel := context.WithTimeout(r.Context(), patienceForTurn)
	defer cancel()
	h.source.refresh(ctx, []page{p})
	title, live := h.fragment(p)
	f := frame{
		Base: h.opts.BasePath, Title: title, Stream: h.streamOf(p), Live: template.HTML(live), Act: p.act, Login: len(h.opts.Tokens) > 0, // #nosec: from a template
		Note: h.notes.take(r.URL.Query().Get("note")),
	}
	status := http.StatusOK
	if p.name == "" {
		f.List, f.Search, f.Order = true, p.search, p.order
	} else if h.source.unknown(p.name) {
		status = http.StatusNotFound
	}
	h.write(w, status, "page", f)
}

// fragment is the part of a page that changes, with its title.
func (h *Handler) fragment(p page) (title, html string) {
	var b strings.Builder
	if p.name == "" {
		m := h.listModel(p)
		h.render(&b, "list", m)
		return "Semaphores", b.String()
	}
	m := h.oneModel(p)
	h.render(&b, "one", m)
	return clean(p.name), b.String()
}

// render fails only where a template and its model do not fit, which a test of each page shows.
func (h *Handler) render(b *strings.Builder, name string, model any) {
	if err := templates.ExecuteTemplate(b, name, model); err != nil {
		h.opts.Logger.Error("leaseweb: a template failed", "template", name, "err", err)
	}
}

// write answers with a whole page.
func (h *Handler) write(w http.ResponseWriter, status int, name string, model any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, struct {
		Base  string
		Model any
	}{h.opts.BasePath, model}); err != nil {
		h.opts.Logger.Error("leaseweb: a template failed", "template", name, "err", err)
		http.Error(w, "The page could not be made; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // fails where the browser has gone
}

var assetTypes = map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}

func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	kind, ok := assetTypes[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	b, _ := assets.ReadFile("assets/" + name)
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable") // its address has the version
	_, _ = w.Write(b)
}
