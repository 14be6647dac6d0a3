package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// A sample is one reading of a server's clock.
type sample struct {
	sent, received time.Time
	server         time.Time
}

// watch reads the server's clock for as long as the plan says, each time by a script. It does so once for all checks.
func (x *examination) watch(ctx context.Context, n *node) ([]sample, error) {
	if n.samples == nil && n.watched == nil {
		n.samples, n.watched = x.readClock(ctx, n)
	}
	return n.samples, n.watched
}

func (x *examination) readClock(ctx context.Context, n *node) (samples []sample, err error) {
	const script = `local t = redis.call('TIME') return {t[1], t[2]}`
	pause := min(x.Duration/100, 10*time.Millisecond)
	for end := time.Now().Add(x.Duration); time.Now().Before(end); {
		s, err := x.sample(ctx, n, script)
		if err != nil {
			return samples, err
		}
		samples = append(samples, s)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return samples, context.Cause(ctx)
		}
	}
	return samples, nil
}

func (x *examination) sample(ctx context.Context, n *node, script string) (s sample, err error) {
	ctx, cancel := x.bound(ctx)
	defer cancel()
	s.sent = time.Now()
	reply, err := n.client.Eval(ctx, script, nil).Int64Slice()
	s.received = time.Now()
	if err == nil && len(reply) != 2 {
		err = errors.New("TIME: the reply is too short")
	}
	if err == nil {
		s.server = time.Unix(reply[0], reply[1]*1000)
	}
	return s, err
}

func roundTrip(ctx context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		samples, err := x.watch(ctx, n)
		if len(samples) == 0 {
			return unknown("EVAL: %v", err)
		}
		trips := make([]time.Duration, len(samples))
		for i, s := range samples {
			trips[i] = s.received.Sub(s.sent)
		}
		slices.Sort(trips)
		p50, p99 := trips[len(trips)/2], trips[len(trips)*99/100]
		f := Finding{Level: OK, Found: fmt.Sprintf("%v at the median, %v at the 99th percentile of %d", round(p50), round(p99), len(trips))}
		const why = "a renewal has an eighth of the TTL to be answered, and is then tried again"
		switch {
		case p99 > x.TTL/8:
			f.Level, f.Why, f.Do = Failure, why, fmt.Sprintf("use a TTL of %v at least, or find out what makes the server slow", (8*p99).Round(time.Second)+time.Second)
		case p99 > x.TTL/40:
			f.Level, f.Why, f.Do = Warning, why, fmt.Sprintf("a TTL of %v would leave room", (40*p99).Round(time.Second)+time.Second)
		}
		return []Finding{f}
	})
}

func round(d time.Duration) time.Duration { return d.Round(max(time.Microsecond, d/100)) }

func clock(ctx context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		samples, err := x.watch(ctx, n)
		if len(samples) < 2 {
			return unknown("EVAL: %v", err)
		}
		return judgeClock(samples)
	})
}

// judgeClock looks for a jump: the server's clock less this machine's lies, by each sample, between two bounds, and the
// bounds of all samples must have something in common.
func judgeClock(samples []sample) []Finding {
	const tolerance = time.Millisecond
	first := samples[0].sent
	offset := func(s sample) (low, high time.Duration) { // by this machine's monotonic clock
		at := s.server.Sub(first.Round(0))
		return at - s.received.Sub(first), at - s.sent.Sub(first)
	}
	low, high := offset(samples[0])
	for _, s := range samples[1:] {
		l, h := offset(s)
		if l > high+tolerance || h < low-tolerance {
			by := l - high
			if h < low {
				by = h - low
			}
			return []Finding{{
				Level: Failure, Found: fmt.Sprintf("it jumped by %v while it was watched", by.Round(time.Millisecond)),
				Why: "permits expire by the server's clock: a step ahead shortens them, a step back keeps those of the dead", Do: "have the server's machine slew its clock (chrony, ntpd) and not step it",
			}}
		}
		low, high = max(low, l), min(high, h)
	}
	if middle := (low + high) / 2; middle.Abs() > time.Second {
		return []Finding{{
			Level: Warning, Found: fmt.Sprintf("it is %v ahead of this machine's", middle.Round(time.Millisecond)),
			Why: "leases do not mind; people who compare logs do, and PassBuddy for Node goes by its own clock", Do: "synchronise both with NTP",
		}}
	}
	return ok("steady, %v ahead of this machine's", ((low + high) / 2).Round(100*time.Microsecond))
}

func pauses(ctx context.Context, x *examination) []Finding {
	return x.each(func(n *node) (found []Finding) {
		const why = "while the server does one thing, it renews nothing"
		grade := func(took time.Duration, what, do string) {
			switch {
			case took > x.TTL/3:
				found = append(found, Finding{Level: Failure, Found: fmt.Sprintf("%s: %v", what, round(took)), Why: why, Do: do})
			case took > x.TTL/8:
				found = append(found, Finding{Level: Warning, Found: fmt.Sprintf("%s: %v", what, round(took)), Why: why, Do: do})
			}
		}
		grade(time.Duration(number(n.info["latest_fork_usec"]))*time.Microsecond, "the latest fork", "switch transparent huge pages off; save less often; use less memory")
		ctx, cancel := x.bound(ctx)
		defer cancel()
		slow, err := n.client.SlowLogGet(ctx, 100).Result()
		if err != nil {
			return append(found, unknown("SLOWLOG GET: %v", err)...)
		}
		var worst redis.SlowLog
		for _, entry := range slow {
			if entry.Duration > worst.Duration && time.Since(entry.Time) < 24*time.Hour {
				worst = entry
			}
		}
		if len(worst.Args) > 0 {
			grade(worst.Duration, "the slowest command of the last day, "+strings.ToUpper(worst.Args[0]), "find who sends it: SLOWLOG GET")
		}
		if len(found) == 0 {
			return ok("none that matters: the slowest command of the last day took %v", round(worst.Duration))
		}
		return found
	})
}

// config reads a setting; "" and false where the user may not.
func config(ctx context.Context, n *node, names ...string) (string, bool) {
	for _, name := range names {
		values, err := n.client.ConfigGet(ctx, name).Result()
		if err == nil && values[name] != "" {
			return values[name], true
		}
	}
	return "", false
}

func scriptLimit(ctx context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		ctx, cancel := x.bound(ctx)
		defer cancel()
		value, told := config(ctx, n, "busy-reply-threshold", "lua-time-limit")
		if !told {
			return unknown("CONFIG GET busy-reply-threshold is not permitted")
		}
		if limit := number(value); limit > 0 && limit < 100 {
			return []Finding{{Level: Warning, Found: value + " ms", Why: "a script of a large queue may take longer, and others are then told BUSY", Do: "CONFIG SET busy-reply-threshold 5000"}}
		}
		return ok("%s ms", value)
	})
}

// pushes has one manager hand a permit to another, through the server.
func pushes(ctx context.Context, x *examination) []Finding {
	if x.forbidden {
		return unknown("the user lacks permissions")
	}
	ttl := max(x.TTL, 2*time.Second)
	ctx, cancel := context.WithTimeout(ctx, x.Timeout+ttl)
	defer cancel()
	other, err := lease.Open(x.URL, lease.Options{Prefix: x.Prefix, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return unknown("%v", err)
	}
	defer other.Close()
	defer x.removeScratch()
	cfg := lease.Config{Name: x.scratch, Capacity: 1, TTL: ttl, RetryInterval: ttl / 3, Handover: -1}
	var took []time.Duration
	for range 5 {
		one, err := handedOver(ctx, x.manager, other, cfg)
		if err != nil {
			return unknown("%v", err)
		}
		took = append(took, one)
	}
	slices.Sort(took)
	median, last := took[len(took)/2], took[len(took)-1]
	if last > x.TTL/40 {
		return []Finding{{
			Level: Warning, Found: fmt.Sprintf("a freed permit reached who waited after %v, in the worst of %d cases after %v", round(median), len(took), round(last)),
			Why: "without pushes, waiters poll twice a second", Do: "permit +publish, +subscribe and the channels (&*); look whether a proxy passes pub/sub on",
		}}
	}
	return ok("a freed permit reaches who waits after %v", round(median))
}

// handedOver is how long after its release a permit is another's.
func handedOver(ctx context.Context, a, b *lease.Manager, cfg lease.Config) (time.Duration, error) {
	from, err := a.Semaphore(cfg)
	if err != nil {
		return 0, err
	}
	to, err := b.Semaphore(cfg)
	if err != nil {
		return 0, err
	}
	l, err := from.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer l.Release()
	type result struct {
		lease *lease.Lease
		at    time.Time
		err   error
	}
	got := make(chan result, 1)
	go func() {
		l, err := to.Acquire(ctx)
		got <- result{l, time.Now(), err}
	}()
	for { // until it stands in the queue, and a moment for its subscription
		state, err := from.Inspect(ctx)
		if err != nil {
			return 0, err
		}
		if len(state.Waiters) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	released := time.Now()
	if err := l.Release(); err != nil {
		return 0, err
	}
	r := <-got
	if r.err != nil {
		return 0, r.err
	}
	return r.at.Sub(released), r.lease.Release()
}

// removeScratch removes what pushes has left, where the user may; else it is gone in a day.
func (x *examination) removeScratch() {
	ctx, cancel := x.bound(context.Background())
	defer cancel()
	key := x.Prefix + "-" + x.scratch
	keys := []string{key}
	for _, part := range []string{"fence", "queue", "alive", "config", "slots", "callers"} {
		keys = append(keys, "{"+key+"}:"+part)
	}
	for _, k := range keys {
		_ = x.manager.Client().Del(ctx, k).Err()
	}
}

func pushBuffers(ctx context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		ctx, cancel := x.bound(ctx)
		defer cancel()
		value, told := config(ctx, n, "client-output-buffer-limit")
		if !told {
			return unknown("CONFIG GET client-output-buffer-limit is not permitted")
		}
		fields := strings.Fields(value)
		for i := 0; i+3 < len(fields); i += 4 {
			if hard := number(fields[i+1]); fields[i] == "pubsub" && hard > 0 && hard < 1<<20 {
				return []Finding{{Level: Warning, Found: fmt.Sprintf("%.0f bytes for a subscriber", hard), Why: "a process that is slow for a moment loses its subscription, and polls", Do: "CONFIG SET client-output-buffer-limit 'pubsub 33554432 8388608 60'"}}
			}
		}
		return ok("enough for subscribers")
	})
}

func idle(ctx context.Context, x *examination) []Finding {
	return x.each(func(n *node) (found []Finding) {
		ctx, cancel := x.bound(ctx)
		defer cancel()
		timeout, told := config(ctx, n, "timeout")
		if !told {
			return unknown("CONFIG GET timeout is not permitted")
		}
		if t := number(timeout); t > 0 && t < 60 {
			found = append(found, Finding{Level: Warning, Found: "the server closes connections that are idle for " + timeout + " s", Why: "each is then made anew, at the moment when it is needed", Do: "CONFIG SET timeout 0"})
		}
		if alive, told := config(ctx, n, "tcp-keepalive"); told && alive == "0" {
			found = append(found, Finding{Level: Warning, Found: "no tcp-keepalive", Why: "connections of dead clients stay, and a firewall forgets those that are idle", Do: "CONFIG SET tcp-keepalive 300"})
		}
		if len(found) == 0 {
			return ok("they stay open")
		}
		return found
	})
}

func connections(_ context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		used, limit := number(n.info["connected_clients"]), number(n.info["maxclients"])
		if limit == 0 {
			return unknown("the server does not say its maxclients")
		}
		f := Finding{Level: OK, Found: fmt.Sprintf("%.0f of %.0f", used, limit)}
		if used >= 0.8*limit {
			f.Level, f.Why, f.Do = Warning, "a process that cannot connect cannot renew", "CONFIG SET maxclients, or smaller pools in the clients"
		}
		if used >= 0.95*limit {
			f.Level = Failure
		}
		return []Finding{f}
	})
}

func semaphores(ctx context.Context, x *examination) (found []Finding) {
	names := []string{x.Name}
	if x.Name == "" {
		ctx, cancel := context.WithTimeout(ctx, 10*x.Timeout)
		defer cancel()
		var err error
		if names, err = x.manager.Names(ctx); err != nil {
			return unknown("%v", err)
		}
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "#") {
			found = append(found, x.semaphore(ctx, name)...)
		}
	}
	if len(found) == 0 {
		return ok("%d, none of which looks ill", len(names))
	}
	return found
}

func (x *examination) semaphore(ctx context.Context, name string) (found []Finding) {
	look := func() (*lease.State, error) {
		ctx, cancel := x.bound(ctx)
		defer cancel()
		return x.manager.Inspect(ctx, name)
	}
	state, err := look()
	if err != nil {
		if strings.Contains(err.Error(), "WRONGTYPE") {
			return []Finding{{Level: Failure, Found: fmt.Sprintf("%s: the key is something else than a semaphore: %v", name, err), Why: "nobody can acquire it", Do: "rename one of the two, or use another prefix"}}
		}
		return unknown("%s: %v", name, err)
	}
	if stands(state) {
		select { // for two polls
		case <-time.After(1100 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
		if again, err := look(); err == nil && stands(again) && again.Waiters[0].ID == state.Waiters[0].ID {
			found = append(found, Finding{Level: Failure, Found: fmt.Sprintf("%s: %d of %d held, and somebody waits", name, again.Held, again.Capacity), Why: "permits are free, and the queue does not move", Do: "passbuddy inspect " + name + "; look into the log of who waits first"})
		}
	}
	if state.Held > state.Capacity && !state.Paused {
		found = append(found, Finding{Level: Warning, Found: fmt.Sprintf("%s: %d of %d held", name, state.Held, state.Capacity), Why: "processes declare different capacities, or it was resized while more was held", Do: "deploy one Config everywhere"})
	}
	if state.Paused {
		found = append(found, Finding{Level: Info, Found: name + ": paused", Do: "passbuddy resume " + name})
	}
	for _, h := range state.Holders {
		switch {
		case h.Revoked:
			found = append(found, Finding{Level: Info, Found: fmt.Sprintf("%s: %s was revoked, and keeps it", name, h.Owner), Do: "look at that process; time takes the permit when it dies"})
		case !h.AskedAt.IsZero() && state.ServerTime.Sub(h.AskedAt) > 24*time.Hour:
			found = append(found, Finding{Level: Info, Found: fmt.Sprintf("%s: %s has held it for %v", name, h.Owner, state.ServerTime.Sub(h.AskedAt).Round(time.Hour)), Do: "if that is a mistake: passbuddy revoke " + name + " " + h.ID})
		}
	}
	return found
}

// stands reports whether the first who is alive would find room.
func stands(s *lease.State) bool {
	return len(s.Waiters) > 0 && !s.Waiters[0].AliveUntil.Before(s.ServerTime) && s.Held+s.Waiters[0].Weight <= s.Capacity && s.ServerTime.Sub(s.Waiters[0].Since) > time.Second
}
