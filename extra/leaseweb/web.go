// Package leaseweb is a web page that shows the semaphores of a fleet, live: who holds them, who waits, and what has
// happened in the last minutes. A service mounts it behind its own login; the command passbuddy serve runs it alone.
//
//	page, err := leaseweb.New(manager, leaseweb.Options{BasePath: "/leases"})
//	if err != nil {
//		return err
//	}
//	defer page.Shutdown(context.Background())
//	mux.Handle("/leases/", requireLogin(page))
//
// The page is read-only unless AllowActions is set. No request leaves it: styles, script and icon are embedded. It
// needs no JavaScript; with it, the page is live.
package leaseweb

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// Options are a page's. The zero value shows a read-only page at / to everybody who reaches it.
type Options struct {
	// BasePath is where the page is mounted, such as /leases. The handler gets requests with this path, not without it:
	// do not strip it. Default: /
	BasePath string
	// Hosts are the names under which browsers may reach the page, without a port: others get 421. That refuses pages
	// that make their own name point to this server (DNS rebinding). The address of the connection itself, and localhost
	// where that is a loopback address, are always right. Nil: every name; only for a page behind a login.
	Hosts []string
	// Tokens are the page's own login. None: everybody who reaches the page may look, and act where AllowActions is set.
	Tokens []Token
	// AllowActions has the page pause, resume, resize and revoke. Without it there are no such routes.
	AllowActions bool
	// MayAct says who may act, where AllowActions is set and the service has a login of its own. Nil: who has a token
	// with Act, or everybody where there are no Tokens.
	MayAct func(*http.Request) bool
	// Metrics are the names of the semaphores that /metrics tells Prometheus about. None: there is no such route.
	Metrics []string
	// Timeout is for how long Redis may take to answer. Default: 5 s
	Timeout time.Duration
	// Logger gets each action, with the address that it came from. Default: slog.Default()
	Logger *slog.Logger
}

// A Handler is the page. It is safe for concurrent use.
type Handler struct {
	// immutable
	opts   Options
	routes http.Handler
	source *source
	poller *poller
	notes  *notes

	patience time.Duration // for a viewer that does not read
}

// New makes a page for the semaphores under the manager's prefix. It asks Redis nothing before somebody looks. The
// manager stays the caller's to close, after Shutdown.
func New(manager *lease.Manager, opts Options) (*Handler, error) {
	switch {
	case manager == nil:
		return nil, fmt.Errorf("leaseweb: manager nil: pass one")
	case opts.Timeout < 0:
		return nil, fmt.Errorf("leaseweb: Options.Timeout %v: must not be negative; 0 is the default", opts.Timeout)
	case strings.ContainsAny(opts.BasePath, "?#{} \"<>\\%") || strings.Contains(opts.BasePath, "//"):
		return nil, fmt.Errorf("leaseweb: Options.BasePath %q: pass a plain path, such as /leases", opts.BasePath)
	}
	for i, name := range opts.Metrics {
		if lease.CheckName(name) != nil {
			return nil, fmt.Errorf("leaseweb: Options.Metrics %.100q: it is no name of a semaphore", name)
		}
		if slices.Contains(opts.Metrics[:i], name) {
			return nil, fmt.Errorf("leaseweb: Options.Metrics %q: it is there twice", name)
		}
	}
	if err := checkTokens(opts.Tokens); err != nil {
		return nil, err
	}
	if opts.BasePath = strings.TrimSuffix(opts.BasePath, "/"); opts.BasePath != "" && opts.BasePath[0] != '/' {
		opts.BasePath = "/" + opts.BasePath
	}
	if opts.Timeout == 0 {
		opts.Timeout = 5 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	h := &Handler{opts: opts, notes: newNotes(), source: newSource(manager, opts.Timeout), patience: 5 * time.Second}
	h.poller = newPoller(h.source, h.snapshot)
	h.routes = h.guarded()
	return h, nil
}

// ServeHTTP serves the page and all that it needs, below BasePath.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == h.opts.BasePath && r.URL.Path != "" {
		http.Redirect(w, r, h.opts.BasePath+"/", http.StatusPermanentRedirect)
		return
	}
	h.routes.ServeHTTP(w, r)
}

// Shutdown ends all streams and asks Redis nothing any more. It waits until the streams and the poller have ended, or
// until ctx ends; then they end by themselves, in five seconds or what Timeout allows. Call it before, or while,
// http.Server.Shutdown waits: a stream never ends by itself. Pages that are asked for afterwards show what is known.
func (h *Handler) Shutdown(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.poller.shutdown()
		h.source.shutdown()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// named refuses a request for a semaphore that there cannot be.
func named(answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if name == "" {
			name = r.URL.Query().Get("name")
		}
		if name != "" && lease.CheckName(name) != nil {
			http.Error(w, "There can be no semaphore of this name.", http.StatusBadRequest)
			return
		}
		answer(w, r)
	}
}

// guarded are all routes, behind what guards them.
func (h *Handler) guarded() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.list)
	mux.HandleFunc("GET /s/{name}", named(h.one))
	mux.HandleFunc("GET /s/{$}", named(h.one)) // with ?name=
	mux.HandleFunc("GET /events", named(h.events))
	mux.HandleFunc("GET /assets/{file}", asset)
	mux.HandleFunc("GET /api/v1/semaphores", h.apiList)
	mux.HandleFunc("GET /api/v1/semaphores/{name}", named(h.apiOne))
	if h.opts.AllowActions {
		mux.HandleFunc("GET /confirm/{verb}", named(h.confirm))
		mux.HandleFunc("POST /s/{name}/{verb}", named(h.act))
		mux.HandleFunc("POST /s/{verb}", named(h.act)) // with name=
		mux.HandleFunc("POST /api/v1/semaphores/{name}/{verb}", named(h.apiAct))
	}
	if len(h.opts.Metrics) > 0 {
		mux.HandleFunc("GET /metrics", h.metrics)
	}
	outer := http.NewServeMux()
	outer.Handle("/", h.checkHost(h.checkToken(mux)))
	if len(h.opts.Tokens) > 0 {
		outer.Handle("GET /login", h.checkHost(http.HandlerFunc(h.loginPage)))
		outer.Handle("POST /login", h.checkHost(http.HandlerFunc(h.login)))
		outer.Handle("POST /logout", h.checkHost(http.HandlerFunc(h.logout)))
		outer.Handle("GET /assets/{file}", h.checkHost(http.HandlerFunc(asset)))
	}
	// A machine that watches this process knows neither a name nor a token, and is told nothing that is secret.
	outer.HandleFunc("GET /healthz", h.healthz)
	outer.HandleFunc("GET /readyz", h.readyz)
	return withHeaders(http.NewCrossOriginProtection().Handler(http.StripPrefix(h.opts.BasePath, outer)))
}
