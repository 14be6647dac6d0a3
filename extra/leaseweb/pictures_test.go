package leaseweb

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

var pictures = flag.String("pictures", "", "write the README's pictures into this directory")

// A small fleet at work: eight GPUs with more work than room, a report that one machine makes, an API that is paused, and
// a queue of mails.
func smallFleet(t testing.TB, server *redistest.Server, pace time.Duration) *lease.Manager {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 100)
	workers := 0
	t.Cleanup(func() {
		cancel()
		for range workers {
			<-done
		}
	})
	work := func(s *lease.Semaphore, label string, times ...int) {
		workers++
		go func() {
			defer func() { done <- struct{}{} }()
			for i := 0; ctx.Err() == nil; i++ {
				_ = s.Do(ctx, func(held context.Context) error {
					select {
					case <-held.Done():
					case <-time.After(pace * time.Duration(times[i%len(times)])):
					}
					return nil
				}, lease.Label(label))
			}
		}()
	}
	machines := make([]*lease.Manager, 4)
	for i := range machines {
		machines[i] = manager(t, server, fmt.Sprintf("node-%d/%d", i+1, 800+37*i))
	}
	for i, m := range machines {
		gpu := semaphore(t, m, lease.Config{Name: "gpu", Capacity: 8, Slots: true})
		work(gpu, "train resnet", 9, 14, 7)
		work(gpu, "evaluate", 3, 5, 4)
		if i < 2 {
			work(gpu, "render", 4, 6)
		}
		mail := semaphore(t, m, lease.Config{Name: "mail-out", Capacity: 25})
		for range 3 {
			work(mail, "send", 1, 2, 3)
		}
		imports := semaphore(t, m, lease.Config{Name: "imports", Capacity: 2})
		work(imports, "orders", 8, 5)
		work(semaphore(t, m, lease.Config{Name: "search-index", Capacity: 6}), "shard", 3, 2)
	}
	hold(t, semaphore(t, machines[1], lease.Config{Name: "nightly-report", Capacity: 1}), lease.Label("sales"))
	payments := semaphore(t, machines[2], lease.Config{Name: "payments-api", Capacity: 20})
	hold(t, payments)
	operator := manager(t, server, "ops/41")
	if err := operator.Pause(t.Context(), "payments-api", lease.Reason("provider is being upgraded")); err != nil {
		t.Fatal(err)
	}
	queue(t, payments)
	if err := operator.Resize(t.Context(), "search-index", 3, lease.Reason("disk is slow")); err != nil {
		t.Fatal(err)
	}
	return machines[0]
}

// TestPicturesForTheReadme makes the pictures again, in two minutes:
//
//	go test -run PicturesForTheReadme . -pictures ../../docs/images
//
// Without a directory it makes them of a fleet that has just begun, and sees that they are small.
func TestPicturesForTheReadme(t *testing.T) {
	t.Parallel()
	dir, pace, watched := t.TempDir(), 100*time.Millisecond, 3*time.Second
	if *pictures != "" {
		dir, pace, watched = *pictures, time.Second, 100*time.Second
	}
	server := redistest.Start(t)
	m := smallFleet(t, server, pace)
	s := serve(t, m, Options{AllowActions: true})
	b := chromium(t, hostIn(s))
	for _, path := range []string{"", "s/gpu"} {
		v, _ := s.poller.join(pageFor(path, true))
		defer s.poller.leave(v)
	}
	s.lookedFor(t, watched*4/5)
	state, err := m.Inspect(t.Context(), "gpu")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range state.Holders[3:6] { // some may end at this moment
		if a := s.ask(t, "POST", "/api/v1/semaphores/gpu/revoke", url.Values{"id": {h.ID}}.Encode()); a.StatusCode == 200 {
			break
		}
	}
	s.lookedFor(t, watched)
	for name, path := range map[string]string{"list": "/", "semaphore": "/s/gpu"} {
		b.look(1120, map[string]int64{"list": 400, "semaphore": 700}[name], "light")
		b.open(s.URL + path)
		file := filepath.Join(dir, name+".png")
		b.pictureTo(file)
		if info, err := os.Stat(file); err != nil || info.Size() > 150_000 {
			t.Errorf("%s: %v, %v", file, info.Size(), err)
		}
	}
}

// lookedFor waits until the page of gpu has been looked at for so long.
func (s *site) lookedFor(t *testing.T, d time.Duration) {
	t.Helper()
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		s.source.mu.Lock()
		looked := s.source.record("gpu").lanes.looked
		enough := len(looked) > 0 && looked[len(looked)-1].to.Sub(looked[0].from) >= d
		s.source.mu.Unlock()
		if enough {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("the test has ended")
		}
	}
}

func pageFor(path string, act bool) page {
	if name, one := strings.CutPrefix(path, "s/"); one {
		return page{name: name, span: spans[0], act: act}
	}
	return page{order: "name", act: act}
}
