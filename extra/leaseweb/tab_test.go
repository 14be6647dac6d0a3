package leaseweb

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/eqworks/passbuddy/internal/redistest"
)

func lookers(s *site, want int) func(context.Context) error {
	return func(context.Context) error {
		s.poller.mu.Lock()
		defer s.poller.mu.Unlock()
		if n := len(s.poller.viewers); n != want {
			return fmt.Errorf("%d look", n)
		}
		return nil
	}
}

func TestAHiddenTabHasNoStream(t *testing.T) {
	t.Parallel()
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{})
	b := chromium(t, hostIn(s))
	b.open(s.URL)
	redistest.Eventually(t, "the tab looks", lookers(s, 1))
	hide := func(hidden bool) {
		b.eval0(fmt.Sprintf(`Object.defineProperty(document, "hidden", {configurable: true, value: %v}); document.dispatchEvent(new Event("visibilitychange"))`, hidden))
	}
	hide(true)
	redistest.Eventually(t, "the hidden tab has left", lookers(s, 0))
	hide(false)
	redistest.Eventually(t, "the tab looks again", lookers(s, 1))
	b.open(s.URL + "/s/gpu") // another page in the same tab
	redistest.Eventually(t, "one stream is left", lookers(s, 1))
	b.do(chromedp.Navigate("about:blank"))
	redistest.Eventually(t, "the tab has gone", lookers(s, 0))
}

func TestAPageWhoseServerIsGoneSaysSoAndGoesOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{})
	b := chromium(t, hostIn(s))
	b.errorsOK = true // the browser's own, that it reaches nobody
	b.look(1000, 400, "light")
	b.open(s.URL)
	redistest.Eventually(t, "the tab looks", lookers(s, 1))
	addr := s.Listener.Addr().String()
	s.CloseClientConnections()
	s.Server.Close()
	b.within(20*time.Second, `/No connection to this page.s server: last heard \d+ s ago/.test(document.getElementById("connection").textContent)`)
	b.picture("no-connection")
	again := httptest.NewUnstartedServer(http.Handler(s.Handler))
	_ = again.Listener.Close()
	again.Listener = listenAt(t, addr)
	again.Start()
	defer again.Close()
	defer again.CloseClientConnections()
	b.within(30*time.Second, `document.getElementById("connection").textContent === ""`)
}

// listenAt listens at an address that has just been given back.
func listenAt(t *testing.T, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	redistest.Eventually(t, "the address is free", func(ctx context.Context) (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		return err
	})
	return l
}
