package lease_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

// serve runs one request through h and returns the answer.
func serve(h http.Handler, ctx context.Context) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	return rec
}

func TestARequestRunsUnderALeaseOfItsOwn(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		var leases []*lease.Lease
		var writer http.ResponseWriter
		h := s.Middleware(lease.MiddlewareOptions{})(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			l := lease.FromContext(r.Context())
			leases = append(leases, l)
			writer = rw
			if !l.Valid() || r.Context().Value(anyKey{}) != "v" || len(w.members()) != 1 {
				w.Error("not under a lease below the request's context")
			}
			_, _ = io.WriteString(rw, "done")
		}))
		for range 2 {
			rec := serve(h, context.WithValue(context.Background(), anyKey{}, "v"))
			if rec.Code != 200 || rec.Body.String() != "done" {
				w.Errorf("answered %d %q", rec.Code, rec.Body)
			}
			if writer != http.ResponseWriter(rec) {
				w.Error("the ResponseWriter was wrapped")
			}
			synctest.Wait()
			if n := len(w.members()); n != 0 {
				w.Errorf("%d permits after the response", n)
			}
		}
		if leases[0] == leases[1] {
			w.Error("two requests had one lease")
		}
	})
}

func TestARequestsContextEndsWhenItsLeaseIsLost(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			child, cancel := context.WithCancel(r.Context())
			defer cancel()
			leasetest.Lose(lease.FromContext(r.Context()))
			if child.Err() == nil || !errors.Is(context.Cause(child), lease.ErrLost) {
				w.Errorf("cause %v", context.Cause(child))
			}
		})
		serve(s.Middleware(lease.MiddlewareOptions{})(handler), context.Background())
		serve(s.Permit().Middleware(lease.MiddlewareOptions{AcquireOnStart: true})(handler), context.Background())
		synctest.Wait()
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits were left by handlers that lost them", n)
		}
	})
}

func TestWhatARequestWithoutAPermitGets(t *testing.T) {
	type options = lease.MiddlewareOptions
	for _, tc := range []struct {
		name    string
		opts    options
		config  func(*lease.Config)
		trouble func(*world, *lease.Manager)
		waits   time.Duration
		code    int
		retry   string
	}{
		{"by default", options{}, nil, nil, 5 * time.Second, 503, "1"},
		{"the Config's bound", options{}, func(c *lease.Config) { c.MaxWait = time.Second }, nil, time.Second, 503, "1"},
		{"a bound of its own", options{MaxWait: 2 * time.Second, Status: 429}, func(c *lease.Config) { c.MaxWait = time.Second }, nil, 2 * time.Second, 429, "1"},
		{"one attempt", options{MaxWait: -1}, nil, nil, 0, 503, "1"},
		{"a long interval", options{MaxWait: -1}, func(c *lease.Config) { c.TTL, c.RetryInterval = time.Minute, 19*time.Second+1 }, nil, 0, 503, "20"},
		{"the manager is closed", options{Status: 429}, nil, func(_ *world, m *lease.Manager) { _ = m.Close() }, 0, 503, ""},
	} {
		for _, kind := range []string{"a permit per request", "a shared permit"} {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				inAnHour(t, func(w *world) {
					m, _ := w.process("p")
					other, _ := w.process("q")
					change := func(c *lease.Config) {
						if tc.config != nil {
							tc.config(c)
						}
					}
					defer w.acquire(w.semaphore(other, 1, change)).Release()
					s := w.semaphore(m, 1, change)
					around := s.Middleware(tc.opts)
					if kind == "a shared permit" {
						tc.opts.AcquireOnStart = true
						around = s.Permit().Middleware(tc.opts)
					}
					if tc.trouble != nil {
						tc.trouble(w, m)
					}
					h := around(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.Error("the handler ran") }))
					start := time.Now()
					rec := serve(h, context.Background())
					if d := time.Since(start); d != tc.waits {
						w.Errorf("waited %v, want %v", d, tc.waits)
					}
					if rec.Code != tc.code || rec.Header().Get("Retry-After") != tc.retry {
						w.Errorf("answered %d, Retry-After %q; want %d, %q", rec.Code, rec.Header().Get("Retry-After"), tc.code, tc.retry)
					}
				})
			})
		}
	}
	t.Run("Redis is out of reach", func(t *testing.T) {
		inAnHour(t, func(w *world) {
			m, host := w.process("p")
			host.Refuse()
			h := w.semaphore(m, 1).Middleware(options{Status: 429})(http.NotFoundHandler())
			for range 2 {
				rec := serve(h, context.Background())
				if rec.Code != 503 || strings.Contains(rec.Body.String(), "refused") || rec.Header().Get("Retry-After") != "" {
					w.Errorf("answered %d %q", rec.Code, rec.Body)
				}
			}
			if n := strings.Count(w.log.String(), "requests are refused"); n != 1 {
				w.Errorf("logged %d times, want once: %s", n, w.log)
			}
			host.Heal()
		})
	})
	t.Run("an answer of one's own", func(t *testing.T) {
		inAnHour(t, func(w *world) {
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			defer w.acquire(s).Release()
			h := s.Middleware(options{MaxWait: -1, Refuse: func(rw http.ResponseWriter, _ *http.Request, err error) {
				if !errors.Is(err, lease.ErrAtCapacity) {
					w.Error(err)
				}
				rw.WriteHeader(http.StatusTeapot)
			}})(http.NotFoundHandler())
			if rec := serve(h, context.Background()); rec.Code != http.StatusTeapot {
				w.Errorf("answered %d", rec.Code)
			}
		})
	})
}

func TestTheSemaphoreOfARequestIsPicked(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		unknown := errors.New("unknown tenant, secret")
		pick := func(r *http.Request) (*lease.Semaphore, error) {
			switch tenant := r.URL.Query().Get("tenant"); tenant {
			case "":
				return nil, nil
			case "?":
				return nil, unknown
			default:
				return m.Semaphore(lease.Config{Name: "tenant-" + tenant, Capacity: 1})
			}
		}
		var under string
		handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			under = "nothing"
			if l := lease.FromContext(r.Context()); l != nil {
				under = l.Name()
			}
		})
		h := lease.Middleware(pick, lease.MiddlewareOptions{})(handler)
		for _, tc := range []struct {
			query, under string
			code         int
		}{{"?tenant=a", "tenant-a", 200}, {"?tenant=b", "tenant-b", 200}, {"", "nothing", 200}, {"?tenant=%3F", "", 500}} {
			under = ""
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/"+tc.query, nil))
			if under != tc.under || rec.Code != tc.code || strings.Contains(rec.Body.String(), "secret") {
				w.Errorf("%q ran under %q and answered %d %q", tc.query, under, rec.Code, rec.Body)
			}
		}
		h = lease.Middleware(pick, lease.MiddlewareOptions{Refuse: func(rw http.ResponseWriter, _ *http.Request, err error) {
			if errors.Is(err, unknown) {
				rw.WriteHeader(http.StatusNotFound)
			}
		}})(handler)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/?tenant=%3F", nil))
		if rec.Code != http.StatusNotFound {
			w.Errorf("answered %d", rec.Code)
		}
	})
}

// An outer timeout middleware, a server's BaseContext, a client that has gone away: whichever ended the request, its
// handler did not run, and no answer would be 200 OK.
func TestARequestThatEndsWhileItWaitsIsRefused(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		taken := w.acquire(w.semaphore(other, 1))
		s := w.semaphore(m, 1)
		never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.Error("the handler ran") })
		var told []error
		refuse := func(rw http.ResponseWriter, _ *http.Request, err error) {
			told = append(told, err)
			rw.WriteHeader(http.StatusTeapot)
		}
		for _, tc := range []struct {
			name string
			h    http.Handler
			code int
		}{
			{"a permit per request", s.Middleware(lease.MiddlewareOptions{})(never), 503},
			{"a shared permit", s.Permit().Middleware(lease.MiddlewareOptions{AcquireOnStart: true})(never), 503},
			{"an answer of one's own", s.Middleware(lease.MiddlewareOptions{Refuse: refuse})(never), http.StatusTeapot},
		} {
			cancelled, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			if rec := serve(tc.h, cancelled); rec.Code != tc.code {
				w.Errorf("%s, cancelled: answered %d", tc.name, rec.Code)
			}
			late, cancel := context.WithTimeout(context.Background(), time.Second)
			if rec := serve(tc.h, late); rec.Code != tc.code {
				w.Errorf("%s, timed out: answered %d", tc.name, rec.Code)
			}
			cancel()
		}
		if len(told) != 2 || !errors.Is(told[0], context.Canceled) || !errors.Is(told[1], context.DeadlineExceeded) {
			w.Errorf("Refuse was told %v", told)
		}
		_ = taken.Release()
		time.Sleep(worldTTL)
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits leaked", n)
		}
	})
}

// The permit comes, and the request has ended at that very moment.
func TestARequestThatEndsWhenItsPermitComesIsRefused(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 1)
		never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.Error("the handler ran") })
		p := s.Permit()
		if err := p.Acquire(context.Background()); err != nil {
			w.Fatal(err)
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		for name, h := range map[string]http.Handler{
			"a permit per request": s.Middleware(lease.MiddlewareOptions{})(never),
			"a shared permit":      p.Middleware(lease.MiddlewareOptions{AcquireOnStart: true})(never),
		} {
			if rec := serve(h, ended); rec.Code != 503 {
				w.Errorf("%s: answered %d", name, rec.Code)
			}
		}
	})
}

func TestAPanicOfAHandlerGivesThePermitBack(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		for _, v := range []any{"oh", http.ErrAbortHandler} {
			bad := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(v) })
			for _, h := range []http.Handler{
				s.Middleware(lease.MiddlewareOptions{})(bad),
				s.Permit().Middleware(lease.MiddlewareOptions{AcquireOnStart: true})(bad),
			} {
				func() {
					defer func() {
						if got := recover(); got != v {
							w.Errorf("the panic became %v", got)
						}
					}()
					serve(h, context.Background())
				}()
				synctest.Wait()
				if n := len(w.members()); n != 0 {
					w.Errorf("%d permits are left", n)
				}
			}
		}
	})
}

func TestAResponseIsNotHeldUpByRedis(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 3)
		stall := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.net.Stall() })
		for _, h := range []http.Handler{
			s.Middleware(lease.MiddlewareOptions{})(stall),
			s.Permit().Middleware(lease.MiddlewareOptions{AcquireOnStart: true})(stall),
		} {
			start := time.Now()
			serve(h, context.Background())
			if d := time.Since(start); d != 0 {
				w.Errorf("the response waited %v for Redis", d)
			}
			w.net.Resume()
			time.Sleep(worldTTL / 4)
			if n := len(w.members()); n != 0 {
				w.Errorf("%d permits did not go back", n)
			}
		}
	})
}

func TestRequestsShareAPermit(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 3)

		t.Log("zero options: the handler takes it, the end of the request releases it")
		p := s.Permit()
		h := p.Middleware(lease.MiddlewareOptions{})(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if p.IsHeld() || lease.FromContext(r.Context()) != nil {
				w.Error("taken before the handler ran")
			}
			if err := p.Acquire(r.Context()); err != nil {
				w.Error(err)
			}
			if !p.IsHeld() {
				w.Error("not taken")
			}
		}))
		for range 2 {
			serve(h, context.Background())
			synctest.Wait()
			if n := len(w.members()); n != 0 || p.IsHeld() {
				w.Errorf("%d permits after the request", n)
			}
		}

		t.Log("KeepOnEnd")
		keep := p.Middleware(lease.MiddlewareOptions{AcquireOnStart: true, KeepOnEnd: true})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		serve(keep, context.Background())
		synctest.Wait()
		if n := len(w.members()); n != 1 || !p.IsHeld() {
			w.Errorf("%d permits after the request", n)
		}
		_ = p.Release()

		t.Log("requests at the same time share it; later ones wait until the last of them is done")
		order := make(chan string, 10)
		both := make(chan bool)
		var leases sync.Map
		shared := p.Middleware(lease.MiddlewareOptions{AcquireOnStart: true})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			leases.Store(r.URL.Path, lease.FromContext(r.Context()))
			if r.URL.Path == "/slow" {
				<-both
			}
			order <- r.URL.Path
		}))
		var all sync.WaitGroup
		for _, path := range []string{"/slow", "/quick", "/late"} {
			all.Go(func() { shared.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil)) })
			synctest.Wait()
		}
		close(both)
		all.Wait()
		if got := []string{<-order, <-order, <-order}; fmt.Sprint(got) != "[/quick /slow /late]" {
			w.Errorf("order %v", got)
		}
		slow, _ := leases.Load("/slow")
		quick, _ := leases.Load("/quick")
		late, _ := leases.Load("/late")
		if slow != quick || late == slow {
			w.Error("which requests shared the lease is not as it should be")
		}
		synctest.Wait()
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits are left", n)
		}

		t.Log("the wait for that is bounded, too")
		_, done := w.use(p, context.Background())
		_ = p.Release()
		start := time.Now()
		impatient := p.Middleware(lease.MiddlewareOptions{AcquireOnStart: true, MaxWait: time.Second})(http.NotFoundHandler())
		if rec := serve(impatient, context.Background()); rec.Code != 503 || time.Since(start) != time.Second {
			w.Errorf("answered %d after %v", rec.Code, time.Since(start))
		}
		done()
		synctest.Wait()
	})
}

// A request joins the wait of a caller who has more time than it has.
func TestARequestsWaitForASharedPermitIsItsOwn(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		taken := w.acquire(w.semaphore(other, 1))
		p := w.semaphore(m, 1).Permit()
		patient := make(chan error)
		go func() { patient <- p.Acquire(context.Background()) }()
		synctest.Wait()
		for wait, want := range map[time.Duration]time.Duration{time.Second: time.Second, -1: worldTTL / 8} {
			start := time.Now()
			h := p.Middleware(lease.MiddlewareOptions{AcquireOnStart: true, KeepOnEnd: true, MaxWait: wait})(http.NotFoundHandler())
			if rec := serve(h, context.Background()); rec.Code != 503 || rec.Header().Get("Retry-After") != "1" || time.Since(start) != want {
				w.Errorf("answered %d after %v, want %v", rec.Code, time.Since(start), want)
			}
		}
		_ = taken.Release()
		if err := <-patient; err != nil {
			w.Error(err)
		}
		_ = p.Release()
	})
}

func TestMiddlewaresThatCannotWorkAreRefusedAtTheStart(t *testing.T) {
	m, err := lease.New(unconnected(t), lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "x", Capacity: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		option, value string
		make          func()
	}{
		{"pick", "nil", func() { lease.Middleware(nil, lease.MiddlewareOptions{}) }},
		{"next", "nil", func() { s.Middleware(lease.MiddlewareOptions{})(nil) }},
		{"next", "nil", func() { s.Permit().Middleware(lease.MiddlewareOptions{})(nil) }},
		{"MiddlewareOptions.Status", "200", func() { s.Middleware(lease.MiddlewareOptions{Status: 200}) }},
		{"MiddlewareOptions.Status", "500", func() { s.Permit().Middleware(lease.MiddlewareOptions{Status: 500}) }},
		{"MiddlewareOptions.KeepOnEnd", "true", func() { s.Middleware(lease.MiddlewareOptions{KeepOnEnd: true}) }},
		{"MiddlewareOptions.AcquireOnStart", "true", func() { s.Middleware(lease.MiddlewareOptions{AcquireOnStart: true}) }},
	} {
		func() {
			defer func() {
				err, _ := recover().(error)
				mustRefuse(t, err, tc.option, tc.value)
			}()
			tc.make()
		}()
	}
}

// A hijacked connection, as a websocket's, is under the permit for as long as its handler runs.
func TestAHijackedConnectionIsUnderThePermit(t *testing.T) {
	m := leasetest.New(t)
	s, err := m.Semaphore(lease.Config{Name: "sockets", Capacity: 1})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.Middleware(lease.MiddlewareOptions{MaxWait: -1})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = buf.Flush()
		for {
			line, err := buf.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(buf, "%v %s", lease.FromContext(r.Context()).Valid(), line)
			_ = buf.Flush()
		}
	})))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	answers := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(answers, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	for range 3 {
		_, _ = io.WriteString(conn, "hello\n")
		if line, err := answers.ReadString('\n'); line != "true hello\n" {
			t.Errorf("%q, %v", line, err)
		}
	}
	if resp, err := http.Get(server.URL); err != nil || resp.StatusCode != 503 {
		t.Errorf("a second request beside the socket: %v, %v", resp, err)
	}
	_ = conn.Close()
	l, err := s.Acquire(t.Context()) // comes when the handler has returned
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Release()
}

func TestTheMiddlewareUnder200Clients(t *testing.T) {
	const capacity, clients, requests = 10, 200, 6
	m := opened(t, "open", miniredis.RunT(t).Addr())
	s, err := m.Semaphore(lease.Config{Name: "site", Capacity: capacity})
	if err != nil {
		t.Fatal(err)
	}
	patience, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var inside, most, lost, panicked atomic.Int64
	full := make(chan struct{}) // closed when all permits have been in use at once; until then nobody is done
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := inside.Add(1)
		defer inside.Add(-1)
		for seen := most.Load(); n > seen; seen = most.Load() {
			if most.CompareAndSwap(seen, n) && n == capacity {
				close(full)
			}
		}
		select {
		case <-full:
		case <-r.Context().Done():
			return
		case <-patience.Done(): // they never were: an error below
			return
		}
		select {
		case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond): // the work
		case <-r.Context().Done():
			return
		}
		switch l := lease.FromContext(r.Context()); r.URL.Path {
		case "/lose":
			leasetest.Lose(l)
			<-r.Context().Done()
			if !errors.Is(context.Cause(r.Context()), lease.ErrLost) && context.Cause(r.Context()) != context.Canceled {
				t.Errorf("cause %v", context.Cause(r.Context()))
			}
			lost.Add(1)
		case "/panic":
			panicked.Add(1)
			panic("a handler's panic")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "ok")
	})
	// On a busy machine the hasty are refused; the patient are served on any.
	hasty := s.Middleware(lease.MiddlewareOptions{MaxWait: 100 * time.Millisecond})(handler)
	patient := s.Middleware(lease.MiddlewareOptions{MaxWait: 2 * time.Minute})(handler)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Prefer") == "wait" {
			patient.ServeHTTP(w, r)
		} else {
			hasty.ServeHTTP(w, r)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the panics
	server.Start()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}

	var ok, refused, hungUp, broken atomic.Int64
	everything, err := s.Acquire(t.Context(), lease.Weight(capacity)) // who comes now is refused
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Get(server.URL); err != nil || resp.StatusCode != 503 {
		t.Errorf("while all permits are held elsewhere: %v, %v", resp, err)
	} else {
		refused.Add(1)
		_ = resp.Body.Close()
	}
	_ = everything.Release()
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range requests {
				path := [...]string{"/job", "/job", "/job", "/lose", "/panic", "/abort", "/job"}[(c+i)%7]
				ctx, cancel := context.WithCancel(context.Background())
				if (c+i)%5 == 0 { // hangs up: while it waits, while it is served, or after that
					time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, cancel)
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
				if err != nil {
					t.Error(err)
				}
				if (c+i)%2 == 0 {
					req.Header.Set("Prefer", "wait")
				}
				resp, err := client.Do(req)
				switch {
				case err != nil && ctx.Err() != nil:
					hungUp.Add(1)
				case err != nil && (path == "/panic" || path == "/abort"):
					broken.Add(1)
				case err != nil:
					t.Error(err)
				case resp.StatusCode == 200:
					ok.Add(1)
				case resp.StatusCode == 503 && resp.Header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					t.Errorf("status %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
				}
				if err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
				cancel()
			}
		})
	}
	all.Wait()
	client.CloseIdleConnections()
	server.Close() // waits for the handlers
	t.Logf("%d requests: %d ok, %d refused, %d hung up, %d broken off; %d leases lost, %d panics; never more than %d inside",
		clients*requests, ok.Load(), refused.Load(), hungUp.Load(), broken.Load(), lost.Load(), panicked.Load(), most.Load())
	if most.Load() != capacity {
		t.Errorf("%d at a time, want %d", most.Load(), capacity)
	}
	for what, n := range map[string]*atomic.Int64{"answered": &ok, "refused": &refused, "hung up": &hungUp, "broken off": &broken, "lost": &lost} {
		if n.Load() == 0 {
			t.Errorf("no request was %s: the test shows nothing of that", what)
		}
	}
	// All permits can be had at once, so none has leaked; and nothing of the manager is left.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for range capacity {
		l, err := s.Acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
	}
	if n := m.Client().ZCard(ctx, "passbuddy-site").Val(); n != capacity {
		t.Errorf("%d permits in Redis, %d are held", n, capacity)
	}
}
