package leasehttp_test

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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

// A hijacked connection, as a websocket's, is under the permit for as long as its handler runs.
func TestAHijackedConnectionIsUnderThePermit(t *testing.T) {
	m := leasetest.New(t)
	s, err := m.Semaphore(lease.Config{Name: "sockets", Capacity: 1})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(leasehttp.Limit(s, leasehttp.Options{MaxWait: -1})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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

func TestLimitUnder200Clients(t *testing.T) {
	const capacity, clients, requests = 10, 200, 6
	m := leasetest.New(t)
	s, err := m.Semaphore(lease.Config{Name: "site", Capacity: capacity})
	if err != nil {
		t.Fatal(err)
	}
	patience, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var inside, most, lost, panicked atomic.Int64
	full := make(chan struct{}) // closed when all permits have been in use at once; until then nobody is done
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/full" {
			return // with 200 OK: an error below
		}
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
	// On a busy machine the hasty are refused; the patient are served on any. Where Redis has answered nobody in all of
	// that time, the hasty are not told that the site is full: nobody knows.
	const haste = 100 * time.Millisecond
	hasty := leasehttp.Limit(s, leasehttp.Options{MaxWait: haste})(handler)
	patient := leasehttp.Limit(s, leasehttp.Options{MaxWait: 2 * time.Minute})(handler)
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

	var ok, refused, unanswered, hungUp, broken atomic.Int64
	everything, err := s.Acquire(t.Context(), lease.Weight(capacity)) // who comes now is refused
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := client.Get(server.URL + "/full"); err != nil || resp.StatusCode != 503 {
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
				began := time.Now()
				resp, err := client.Do(req)
				took := time.Since(began)
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
				case resp.StatusCode == 503 && req.Header.Get("Prefer") == "" && took >= haste:
					unanswered.Add(1)
				default:
					t.Errorf("status %d, Retry-After %q, after %v", resp.StatusCode, resp.Header.Get("Retry-After"), took)
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
	t.Logf("%d requests: %d ok, %d refused, %d unanswered, %d hung up, %d broken off; %d leases lost, %d panics; never more than %d inside",
		clients*requests, ok.Load(), refused.Load(), unanswered.Load(), hungUp.Load(), broken.Load(), lost.Load(), panicked.Load(), most.Load())
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
