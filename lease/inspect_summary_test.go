package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// mustSummarize compares a summary with what Inspect has found.
func mustSummarize(t testing.TB, m *lease.Manager, state *lease.State) {
	t.Helper()
	all, err := m.Summaries(context.Background(), state.Name)
	if err != nil {
		t.Error(err)
		return
	}
	var first lease.Waiter
	callers := 0
	for _, w := range state.Waiters {
		if first.ID == "" && w.AliveUntil.After(state.ServerTime) {
			first = w
		}
	}
	for _, p := range state.Waiting {
		callers += p.Callers
	}
	declares, ttl := state.OtherDeclared, state.OtherTTL
	capacity := declares
	if state.Resized {
		capacity = state.Capacity
	}
	want := lease.Summary{
		Name: state.Name, ServerTime: all[0].ServerTime, Capacity: capacity, Resized: state.Resized, Paused: state.Paused, Override: state.Override,
		OtherDeclared: declares, OtherTTL: ttl, Held: state.Held, NextExpiry: all[0].NextExpiry, Places: len(state.Waiters), Callers: callers,
		FirstSince: first.Since, FirstWeight: first.Weight,
	}
	if all[0] != want {
		t.Errorf("the summary is\n%+v, want\n%+v", all[0], want)
	}
	if state.Held > 0 != all[0].NextExpiry.After(all[0].ServerTime) {
		t.Errorf("%d held, and the next expires at %v", state.Held, all[0].NextExpiry)
	}
}

func TestSummariesSayWhatInspectSays(t *testing.T) {
	inBubble(t, func(w *world) {
		ctx := context.Background()
		m, _ := w.process("p")
		dead, kill := w.process("dead")
		operator, _ := w.process("operator")
		look := func(heading string) lease.Summary {
			state, err := operator.Inspect(ctx, "gpu")
			if err != nil {
				w.Fatal(err)
			}
			w.Log(heading)
			mustSummarize(w, operator, state)
			all, _ := operator.Summaries(ctx, "gpu")
			if state.Held > 0 && !all[0].NextExpiry.Equal(state.Holders[0].Expires) {
				w.Errorf("the next expires at %v, want %v", all[0].NextExpiry, state.Holders[0].Expires)
			}
			return all[0]
		}
		look("nobody has used it")
		s := w.semaphore(m, 8)
		leases := []*lease.Lease{w.acquire(s, lease.Weight(3)), w.acquire(s)}
		time.Sleep(100 * time.Millisecond) // these expire later
		leases = append(leases, w.acquire(w.semaphore(dead, 8), lease.Weight(4)))
		if got := look("8 held"); got.Held != 8 {
			w.Errorf("%+v", got)
		}
		waiting := make(chan *lease.Lease, 30)
		for range 30 {
			go func() { waiting <- w.acquire(s) }()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		if got := look("30 wait"); got.Callers != 30 || got.Places > 9 {
			w.Errorf("%+v", got)
		}
		if err := operator.Pause(ctx, "gpu"); err != nil {
			w.Fatal(err)
		}
		kill.Kill()
		time.Sleep(2 * worldTTL)
		if got := look("the dead one's are over, and it is paused"); got.Held != 4 || !got.Paused {
			w.Errorf("%+v", got)
		}
		w.net.Look(func(r *miniredis.Miniredis) { // what the next acquire would take out
			_, _ = r.ZAdd("passbuddy-gpu", float64(time.Now().Add(-time.Second).UnixMilli()), "expired")
			_, _ = r.ZAdd(queueKey, 1, "who-waits@and-is-dead~1#7")
		})
		if got := look("an expired permit, and a dead waiter who is first"); got.Held != 4 || got.FirstWeight != 1 {
			w.Errorf("%+v", got)
		}
		if err := operator.Resume(ctx, "gpu"); err != nil {
			w.Fatal(err)
		}
		for _, l := range leases[:2] {
			_ = l.Release()
		}
		for range 30 {
			_ = (<-waiting).Release()
		}
	})
}

// A pause is over when it is resumed, and what was set before it counts again.
func TestResumeBringsBackWhatWasBeforeThePause(t *testing.T) {
	inAnHour(t, func(w *world) {
		ctx := context.Background()
		m, _ := w.process("p")
		operator, _ := w.process("operator")
		s := w.semaphore(m, 2)
		_ = w.acquire(s).Release()
		must := func(err error) {
			w.Helper()
			if err != nil {
				w.Error(err)
			}
		}
		start := time.Now()
		want := func(capacity int, resized, paused bool, o lease.Override) {
			w.Helper()
			state, err := operator.Inspect(ctx, "gpu")
			must(err)
			if by, _, _ := strings.Cut(state.Override.By, "~"); resized && (by != "operator" || state.Override.At.Before(start)) {
				w.Errorf("set by %q at %v", by, state.Override.At)
			}
			state.Override.By, state.Override.At = "", time.Time{}
			if state.Capacity != capacity || state.Resized != resized || state.Paused != paused || state.Override != o {
				w.Errorf("%+v, want %d %t %t %+v", state, capacity, resized, paused, o)
			}
		}
		must(operator.Resume(ctx, "gpu"))
		want(2, false, false, lease.Override{})
		must(operator.Pause(ctx, "gpu", lease.Reason("upgrade")))
		want(0, true, true, lease.Override{Reason: "upgrade", Before: -1})
		must(operator.Pause(ctx, "gpu"))
		must(operator.Resume(ctx, "gpu"))
		want(2, false, false, lease.Override{})

		must(operator.Resize(ctx, "gpu", 5, lease.Reason("more machines")))
		must(operator.Resume(ctx, "gpu")) // there is nothing to resume
		want(5, true, false, lease.Override{Reason: "more machines", Before: -1})
		must(operator.Pause(ctx, "gpu"))
		must(operator.Pause(ctx, "gpu", lease.Reason("again")))
		want(0, true, true, lease.Override{Reason: "again", Before: 5})
		must(operator.Resume(ctx, "gpu"))
		want(5, true, false, lease.Override{Before: -1})
		must(operator.Pause(ctx, "gpu"))
		must(operator.Resize(ctx, "gpu", 4)) // ends the pause, too
		must(operator.Pause(ctx, "gpu"))
		must(operator.ResetCapacity(ctx, "gpu"))
		must(operator.Resume(ctx, "gpu"))
		want(2, false, false, lease.Override{})
		mustRefuse(w.T, operator.Pause(ctx, "gpu", lease.Reason("a\nb")), "reason", `"a\nb"`)
		mustRefuse(w.T, operator.Resize(ctx, "gpu", 1, lease.Reason(strings.Repeat("x", 201))), "reason", "xxx")
		mustRefuse(w.T, operator.Resize(ctx, "gpu", 1, nil), "option", "nil")
	})
}

// Many names take a few pipelines, and the trouble of one is its own.
func TestRealRedisSummariesOfManyNames(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	m, _ := openWith(t, "redis://"+server.Addr())
	names := make([]string, 450)
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i)
		if i%2 == 0 {
			admin.ZAdd(ctx, "passbuddy-"+names[i], redis.Z{Member: fmt.Sprint(i), Score: float64(time.Now().Add(time.Hour).UnixMilli())})
		}
	}
	admin.Set(ctx, "passbuddy-n7", "no sorted set", 0)
	for range 2 { // the second time the server knows the script
		all, err := m.Summaries(ctx, names...)
		if err != nil || len(all) != len(names) {
			t.Fatal(len(all), err)
		}
		for i, s := range all {
			var failed *lease.RedisError
			if s.Name != names[i] || s.Held != 1-i%2 || (i == 7) != errors.As(s.Err, &failed) {
				t.Errorf("%d: %+v", i, s)
			}
		}
	}
	if _, err := m.Summaries(ctx, "n7"); err == nil || !strings.Contains(err.Error(), "n7") {
		t.Errorf("only one that cannot be looked at: %v", err)
	}
	if all, err := m.Summaries(ctx); err != nil || len(all) != 0 {
		t.Errorf("no names: %v, %v", all, err)
	}
	_, err := m.Summaries(ctx, "gpu", "")
	mustRefuse(t, err, "name", `""`)
	_ = m.Close()
	if _, err := m.Summaries(ctx, "gpu"); !errors.Is(err, lease.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// What stands in the way of the whole pipeline is what each name is told.
func TestRealRedisSummariesSayWhyNoneIsThere(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	m, _ := openWith(t, "redis://nobody:wrong@"+server.Addr())
	_, err := m.Summaries(context.Background(), "gpu", "cpu")
	var failed *lease.RedisError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "WRONGPASS") || !strings.Contains(err.Error(), "check the user name and the password") {
		t.Errorf("with a wrong password: %v", err)
	}
	if err := m.Resume(context.Background(), "gpu"); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// Names that come after a pipeline which nobody has answered are not asked for.
func TestRealRedisSummariesGiveUpOnce(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: 100 * time.Millisecond, MaxRetries: -1})
	defer client.Close()
	m, err := lease.New(client, lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	before := client.PoolStats().Timeouts + client.PoolStats().Misses
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprint("n", i)
	}
	server.Pause()
	_, err = m.Summaries(context.Background(), names...)
	server.Resume()
	if err == nil {
		t.Error("a stopped server has answered")
	}
	if n := client.PoolStats().Timeouts + client.PoolStats().Misses - before; n > 1 {
		t.Errorf("%d connections for one answer that does not come", n)
	}
}
