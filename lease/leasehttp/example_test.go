package leasehttp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
)

// newManager is lease.Open on a Redis for the examples.
func newManager() (m *lease.Manager, stop func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	m, err = lease.Open("redis://"+server.Addr(), lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return m, func() {
		_ = m.Close()
		server.Close()
	}
}

// mustSemaphore is Semaphore for the examples.
func mustSemaphore(m *lease.Manager, cfg lease.Config) *lease.Semaphore {
	s, err := m.Semaphore(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return s
}

// query stands for what the permit guards.
func query(ctx context.Context, sql string) (string, error) { return "rows of " + sql, ctx.Err() }

// A permit for each request; what is over the limit gets 503 with a Retry-After.
func ExampleLimit() {
	m, stop := newManager()
	defer stop()
	render := mustSemaphore(m, lease.Config{Name: "render", Capacity: 1})

	limit := leasehttp.Limit(render, leasehttp.Options{MaxWait: 500 * time.Millisecond})
	page := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "rendered under %s", lease.FromContext(r.Context()).Name())
	}))

	get := func() {
		rec := httptest.NewRecorder()
		page.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println(rec.Code, rec.Header().Get("Retry-After"), rec.Body)
	}
	get()
	l, err := render.Acquire(context.Background()) // another server of the fleet
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release()
	get()
	// Output:
	// 200  rendered under render
	// 503 1 at capacity, try again later
}

// A limit for each tenant.
func ExampleLimitBy() {
	m, stop := newManager()
	defer stop()

	perTenant := leasehttp.LimitBy(func(r *http.Request) (*lease.Semaphore, error) {
		return m.Semaphore(lease.Config{Name: "api-" + r.Header.Get("Tenant"), Capacity: 5})
	}, leasehttp.Options{Status: http.StatusTooManyRequests})
	api := perTenant(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "under %s", lease.FromContext(r.Context()).Name())
	}))

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Tenant", "acme")
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, r)
	fmt.Println(rec.Code, rec.Body)
	// Output: 200 under api-acme
}

// app.use(pass.handler({ acquireOnStart: true, releaseOnEnd: true }))
func ExampleShare() {
	m, stop := newManager()
	defer stop()
	pass := mustSemaphore(m, lease.Config{Name: "db", Capacity: 10}).Permit()

	users := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rows, _ := query(r.Context(), "users")
		fmt.Fprint(w, rows)
	})
	app := leasehttp.Share(pass, leasehttp.ShareOptions{AcquireOnStart: true})(users)

	rec := httptest.NewRecorder()
	app.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/users", nil))
	fmt.Println(rec.Code, rec.Body)
	fmt.Println("held afterwards:", pass.IsHeld())
	// Output:
	// 200 rows of users
	// held afterwards: false
}
