package lease_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestACrashedHoldersPermitIsTakenJustAfterItsExpiry(t *testing.T) {
	inBubble(t, func(w *world) {
		a, host := w.process("a")
		b, _ := w.process("b")
		sa := w.semaphore(a, 1)
		sb := w.semaphore(b, 1, func(c *lease.Config) { c.RetryInterval = 2 * time.Second })
		l := w.acquire(sa)
		var expiry time.Time
		for _, at := range w.members() {
			expiry = at
		}
		_ = l
		host.Kill()
		var queued queuedCallers
		queued.add(w, sb, 0, 0)
		queued.mustBeServedInOrder(w, 1)
		if late := time.Since(expiry); late < 0 || late > 20*time.Millisecond {
			w.Errorf("taken %v after the expiry", late)
		}
	})
}

// The polls are 2.2 to 3 seconds apart here: only the one that comes just after the expiry can be in time.
func TestRealRedisTakesACrashedHoldersPermitOverJustAfterItsExpiry(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	cfg := lease.Config{Name: "gpu", Capacity: 3, TTL: 9 * time.Second, RetryInterval: 3 * time.Second}
	judge := newJudge(t)
	holder := startFleet(t, 1, judge, "redis://"+server.Addr(), cfg)[0]
	expiries := map[string]time.Time{}
	for i := range cfg.Capacity {
		holder.must(order{Do: "hold", Key: fmt.Sprint(i)})
	}
	m, _ := openWith(t, "redis://"+server.Addr())
	s := gpu(t, m, cfg)
	var waiting []<-chan got
	for range cfg.Capacity {
		waiting = append(waiting, asking(t, s))
	}
	mustQueue(t, admin, queueKey, int64(cfg.Capacity))
	holder.kill()
	first := time.Time{}
	for _, z := range admin.ZRangeWithScores(context.Background(), "passbuddy-gpu", 0, -1).Val() {
		expiries[z.Member.(string)] = time.UnixMilli(int64(z.Score))
		if first.IsZero() {
			first = expiries[z.Member.(string)]
		}
	}
	for i, w := range waiting {
		g := mustBeServed(t, fmt.Sprintf("waiter %d", i), w)
		late := g.at.Sub(first)
		t.Logf("taken over %v after the expiry", late)
		if late < 0 || late > 1500*time.Millisecond {
			t.Errorf("taken over %v after the expiry", late)
		}
	}
}

// A process that is killed with a permit: the test binary, run again.
func TestRealRedisTakesAKilledHoldersPermitOver(t *testing.T) {
	if addr := os.Getenv("PASSBUDDY_TEST_HOLDER"); addr != "" {
		l := realAcquire(t, realSemaphore(t, opened(t, "open", addr), 1))
		fmt.Println("holding", l.ID())
		<-l.Context().Done()
		return
	}
	inRealTime(t)
	server := redistest.Start(t)
	holder := exec.Command(os.Args[0], "-test.run=^TestRealRedisTakesAKilledHoldersPermitOver$")
	holder.Env = append(os.Environ(), "PASSBUDDY_TEST_HOLDER="+server.Addr())
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	var id string
	for lines := bufio.NewScanner(out); id == "" && lines.Scan(); {
		_, id, _ = strings.Cut(lines.Text(), "holding ")
	}
	if id == "" {
		t.Fatal("the holder did not get its permit")
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	expiry := time.UnixMilli(int64(server.Client(t).ZScore(context.Background(), "passbuddy-gpu", id).Val()))
	s := realSemaphore(t, opened(t, "open", server.Addr()), 1)
	l := realAcquire(t, s)
	at := time.Now()
	if at.Before(expiry) || at.After(expiry.Add(s.Config().RetryInterval)) {
		t.Errorf("taken over %v after its expiry, want 0 to %v", at.Sub(expiry), s.Config().RetryInterval)
	}
	t.Logf("taken over %v after its expiry", at.Sub(expiry))
	_ = l.Release()
}
