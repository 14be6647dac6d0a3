package leaseweb

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
)

func TestAThousandNamesAreListedWithinASecond(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := manager(t, server, "page/1")
	pipe := server.Client(t).Pipeline()
	for i := range 1000 {
		pipe.ZAdd(t.Context(), fmt.Sprintf("passbuddy-tenant-%04d", i), redis.Z{Score: float64(time.Now().Add(time.Hour).UnixMilli()), Member: "somebody"})
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/?sort=held", "/?search=tenant-09&sort=wait"} {
		s := serve(t, m, Options{}) // knows nothing yet
		began := time.Now()
		a := s.ask(t, "GET", path, "").must(t, 200, "tenant-0")
		took := time.Since(began)
		t.Logf("%s: %v, %d bytes", path, took.Round(time.Millisecond), len(a.text))
		if took > time.Second {
			t.Errorf("%s took %v", path, took)
		}
		if n := strings.Count(a.text, "data-key="); n != 50 {
			t.Errorf("%s: %d rows", path, n)
		}
	}
}

func TestTwentyViewersCostAsMuchAsOneAndNobodyNothing(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client(t)
	m := manager(t, server, "page/1")
	for i := range 10 {
		if err := m.Resize(t.Context(), fmt.Sprintf("tenant-%d", i), 5); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, m, Options{})
	// cost is what ten polls cost; a poll shows as a snapshot of each viewer.
	cost := func(viewers int) int {
		var all []*stream
		for range viewers {
			all = append(all, s.watch(t, ""))
		}
		for _, v := range all {
			v.next(t, "tenant-0")
		}
		before := commands(t, client)
		for range 10 {
			for _, v := range all {
				v.next(t, "tenant-0")
			}
		}
		n := commands(t, client) - before
		for _, v := range all {
			v.leave()
		}
		redistest.Eventually(t, "nobody looks", func(context.Context) error {
			s.poller.mu.Lock()
			defer s.poller.mu.Unlock()
			if len(s.poller.viewers) > 0 || s.poller.running {
				return fmt.Errorf("%d look", len(s.poller.viewers))
			}
			return nil
		})
		return n
	}
	one, twenty := cost(1), cost(20)
	t.Logf("ten polls: %d commands for one viewer, %d for twenty", one, twenty)
	if one == 0 || twenty > one*13/10 { // a poll more may fall into the one than into the other
		t.Errorf("one viewer: %d commands, twenty: %d", one, twenty)
	}
	before := commands(t, client)
	idle := time.NewTimer(3 * time.Second) // in which three polls would come
	<-idle.C
	if n := commands(t, client) - before; n != 0 {
		t.Errorf("nobody looks, and Redis got %d commands", n)
	}
}

// In each of the twenty pages loaded at once is what one look found.
func TestManyReloadsCostFewCommands(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := manager(t, server, "page/1")
	if err := m.Resize(t.Context(), "gpu", 5); err != nil {
		t.Fatal(err)
	}
	s := serve(t, m, Options{})
	s.ask(t, "GET", "/", "").must(t, 200, "gpu")
	client := server.Client(t)
	before, began := commands(t, client), time.Now()
	for range 100 {
		s.ask(t, "GET", "/", "").must(t, 200, "gpu")
	}
	looks := 1 + int(time.Since(began)/(250*time.Millisecond))
	perLook := 30 // Redis commands within the script, at most
	if n := commands(t, client) - before; n > looks*perLook {
		t.Errorf("100 reloads in %v cost %d commands", time.Since(began), n)
	}
}

func TestTenThousandHoldersAndWaitersComeInPages(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := manager(t, server, "page/1")
	client := server.Client(t)
	crowd(t, client, "crowd", 10_000, time.Hour)
	if err := m.Resize(t.Context(), "crowd", 10_000); err != nil {
		t.Fatal(err)
	}
	s := serve(t, m, Options{AllowActions: true})
	began := time.Now()
	first := s.ask(t, "GET", "/s/crowd", "").must(t, 200, "1–50 of 10000 leases").must(t, 200, "1–32 of 10000 lanes").must(t, 200, "<b>10000</b> of 10000")
	t.Logf("10,000 holders: %v, %d bytes", time.Since(began).Round(time.Millisecond), len(first.text))
	if len(first.text) > 200_000 {
		t.Errorf("the page has %d bytes", len(first.text))
	}
	last := s.ask(t, "GET", "/s/crowd?leases=200&lanes=313", "").must(t, 200, "9951–10000 of 10000 leases").must(t, 200, "9985–10000 of 10000 lanes").text
	if strings.Count(last, "<td role=\"cell\" class=\"lane\">") != 50 {
		t.Error("the last page is not full")
	}
	s.ask(t, "GET", "/s/crowd?leases=999&lanes=999", "").must(t, 200, "9951–10000 of 10000 leases")
	s.watch(t, "?name=crowd&leases=2").next(t, "51–100 of 10000 leases")
	if list := decode[struct {
		Holders []any
		Leases  int
	}](t, s.ask(t, "GET", "/api/v1/semaphores/crowd?"+url.Values{"all": {"true"}}.Encode(), "")); len(list.Holders) != 10_000 || list.Leases != 10_000 {
		t.Errorf("%d of %d", len(list.Holders), list.Leases)
	}
}

// crowd writes holders into Redis as their processes would.
func crowd(t testing.TB, client *redis.Client, name string, n int, ttl time.Duration) {
	t.Helper()
	until := float64(time.Now().Add(ttl).UnixMilli())
	for i := 0; i < n; i += 1000 {
		var page []redis.Z
		for j := range min(1000, n-i) {
			page = append(page, redis.Z{Score: until, Member: fmt.Sprintf("01a229b9-64e5-7d69-8c5a-%012x@node-%d/1~00", i+j, j%7)})
		}
		if err := client.ZAdd(t.Context(), "passbuddy-"+name, page...).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
