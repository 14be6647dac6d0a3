package leaseweb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
)

func TestARedisThatIsAwayIsShownGreyAndComesBack(t *testing.T) {
	t.Parallel()
	server, m := fleetOfOne(t)
	s := serve(t, m, Options{Timeout: 2 * time.Second})
	b := chromium(t, hostIn(s))
	b.open(s.URL)
	list, one := s.watch(t, ""), s.watch(t, "?name=gpu")
	list.next(t, "gpu")
	one.next(t, "worker/1")
	for what, trouble := range map[string]struct{ begin, end func() }{"stopped": {server.Pause, server.Resume}, "dead": {server.Kill, server.Restart}} {
		trouble.begin()
		// What was known stays, in grey, with its age, which grows.
		for _, v := range []*stream{list, one} {
			html := v.next(t, `class="body stale"`, "Redis does not answer: last seen", "s ago")
			if !strings.Contains(html, "gpu") {
				t.Errorf("%s: what was known is gone:\n%s", what, html)
			}
			before := ageIn(html)
			v.nextThat(t, "is older", func(html string) bool { return ageIn(html) > before })
		}
		b.within(10*time.Second, `getComputedStyle(document.querySelector(".body")).filter.includes("grayscale")`)
		began := time.Now()
		s.ask(t, "GET", "/", "").must(t, 200, "last seen")
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s: a page takes %v", what, took)
		}
		b.picture("away-" + what)
		trouble.end()
		for _, v := range []*stream{list, one} {
			v.next(t, `class="body"`)
		}
		b.within(10*time.Second, `!document.querySelector(".stale")`)
	}
	redistest.Eventually(t, "the list shows the server's new names", func(context.Context) error {
		if html := list.next(t); strings.Contains(html, "worker") || strings.Contains(html, "stale") {
			return errors.New(html)
		}
		return nil
	})
}

var lastSeen = regexp.MustCompile(`last seen (\d+)s ago`)

// ageIn is for how many seconds a snapshot says that Redis has not answered; -1: it does not say so.
func ageIn(html string) int {
	m := lastSeen.FindStringSubmatch(html)
	if m == nil {
		return -1
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func TestAServerThatIsAwayFromTheStartIsSaid(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := manager(t, server, "page/1")
	server.Kill()
	s := serve(t, m, Options{})
	s.ask(t, "GET", "/", "").must(t, 200, "Redis does not answer: never seen")
	s.ask(t, "GET", "/s/gpu", "").must(t, 200, "Redis does not answer: never seen")
	s.ask(t, "GET", "/readyz", "").must(t, 503, "")
	server.Restart()
	if err := m.Resize(t.Context(), "gpu", 3); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "the list shows it", func(context.Context) error {
		if html := s.ask(t, "GET", "/", "").text; !strings.Contains(html, "/s/gpu") {
			return errors.New(html)
		}
		return nil
	})
}

func TestARedisThatRefusesIsToldFromOneThatIsAway(t *testing.T) {
	t.Parallel()
	server, m := fleetOfOne(t)
	if err := server.Client(t).Set(t.Context(), "passbuddy-text", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s := serve(t, m, Options{})
	s.ask(t, "GET", "/s/text", "").must(t, 200, "Redis answers with an error: never seen").must(t, 200, "holds something else")
}

// pipes is a listener whose connections keep nothing: what is written waits until it is read.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p pipes) Close() error   { close(p.closed); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestAViewerThatDoesNotReadDelaysNobodyAndIsDropped(t *testing.T) {
	t.Parallel()
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{})
	s.Handler.patience = 5 * time.Second
	listener := pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: s.Handler}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	defer func() {
		_ = server.Close()
		<-served
	}()
	ours, theirs := net.Pipe()
	listener.accept <- theirs
	if _, err := io.WriteString(ours, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	looking := func(n int) func(context.Context) error {
		return func(context.Context) error {
			s.poller.mu.Lock()
			defer s.poller.mu.Unlock()
			if len(s.poller.viewers) != n {
				return fmt.Errorf("%d viewers", len(s.poller.viewers))
			}
			return nil
		}
	}
	redistest.Eventually(t, "the dead one looks", looking(1))
	v := s.watch(t, "")
	v.next(t, "gpu")
	began := time.Now()
	for range 4 {
		v.next(t, "gpu")
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("four snapshots took %v beside a viewer that does not read", took)
	}
	redistest.Eventually(t, "the dead one is dropped", looking(1))
	v.next(t, "gpu")
}

func TestShutdownEndsStreamsAndAsksNothingMore(t *testing.T) {
	t.Parallel()
	server, m := fleetOfOne(t)
	s := serve(t, m, Options{})
	v, w := s.watch(t, ""), s.watch(t, "?name=gpu")
	v.next(t, "gpu")
	w.next(t, "gpu")
	if err := s.Handler.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, one := range []*stream{v, w} {
		for range one.snapshots { // until the stream has ended: else the test hangs
		}
	}
	client := server.Client(t)
	before := commands(t, client)
	s.ask(t, "GET", "/events", "").must(t, 503, "shut down")
	s.ask(t, "GET", "/healthz", "").must(t, 200, "ok")
	if n := commands(t, client) - before; n != 0 {
		t.Errorf("%d commands after Shutdown", n)
	}
	if err := s.Handler.Shutdown(t.Context()); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

func TestShutdownWithARedisThatHangsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	server, m := fleetOfOne(t)
	s := serve(t, m, Options{})
	v := s.watch(t, "")
	v.next(t, "gpu")
	server.Pause()
	defer server.Resume()
	v.next(t, "stale")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := s.Handler.Shutdown(ctx); err != nil {
		t.Errorf("its calls end with it, so it need not wait: %v", err)
	}
}
