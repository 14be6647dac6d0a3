package leasehttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
)

func TestRequestsShareAPermit(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 3)

		t.Log("zero options: the handler takes it, the end of the request releases it")
		p := s.Permit()
		h := leasehttp.Share(p, leasehttp.ShareOptions{})(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
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
			if n := w.permits(); n != 0 || p.IsHeld() {
				w.Errorf("%d permits after the request", n)
			}
		}

		t.Log("KeepOnEnd")
		keep := leasehttp.Share(p, leasehttp.ShareOptions{AcquireOnStart: true, KeepOnEnd: true})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		serve(keep, context.Background())
		synctest.Wait()
		if n := w.permits(); n != 1 || !p.IsHeld() {
			w.Errorf("%d permits after the request", n)
		}
		_ = p.Release()

		t.Log("requests at the same time share it; later ones wait until the last of them is done")
		order := make(chan string, 10)
		both := make(chan bool)
		var leases sync.Map
		shared := leasehttp.Share(p, leasehttp.ShareOptions{AcquireOnStart: true})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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
		if n := w.permits(); n != 0 {
			w.Errorf("%d permits are left", n)
		}

		t.Log("the wait for that is bounded, too")
		done := w.use(p)
		_ = p.Release()
		start := time.Now()
		impatient := leasehttp.Share(p, leasehttp.ShareOptions{AcquireOnStart: true, Options: leasehttp.Options{MaxWait: time.Second}})(http.NotFoundHandler())
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
			h := leasehttp.Share(p, leasehttp.ShareOptions{AcquireOnStart: true, KeepOnEnd: true, Options: leasehttp.Options{MaxWait: wait}})(http.NotFoundHandler())
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
