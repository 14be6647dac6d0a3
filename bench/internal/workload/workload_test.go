package workload

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
	"github.com/eqworks/passbuddy/bench/internal/stats"
)

func TestMain(m *testing.M) {
	proc.RunIfChild(Children())
	os.Exit(m.Run())
}

// needRedis skips where there is no redis-server, and fails with PASSBUDDY_REDIS=require.
func needRedis(t *testing.T) {
	t.Helper()
	if err := redisserver.Available(); err != nil {
		if os.Getenv("PASSBUDDY_REDIS") == "require" {
			t.Fatal(err)
		}
		t.Skipf("no Redis to measure; PASSBUDDY_REDIS=require, as in CI, makes this a failure: %v", err)
	}
}

func findCase(t *testing.T, b *Bench, key string) *Case {
	t.Helper()
	for _, w := range All(b) {
		for i := range w.Cases {
			if w.Cases[i].Key == key {
				return &w.Cases[i]
			}
		}
	}
	t.Fatalf("no case %s", key)
	return nil
}

func TestTinyRunsMeasureWhatTheColumnsShow(t *testing.T) {
	needRedis(t)
	b := &Bench{Quick: true, Mark: "test"}
	for _, run := range []struct {
		key        string
		contenders []string
		metrics    []string
	}{
		{"a/16", []string{"passbuddy", "passbuddy-linger", "setnx", "local"}, []string{"pairs", "p99", "allocs"}},
		{"a/limit", []string{"passbuddy-linger", "sortedset", "blpop", "local"}, []string{"pairs", "p99"}},
		{"b/1/1ms/4", []string{"passbuddy", "blpop", "rueidislock-1"}, []string{"acquires", "used", "crossed", "p99", "jain", "commands"}},
		{"c/busy", []string{"sortedset"}, []string{"p50", "samples"}},
		{"g/crash", []string{"passbuddy", "redislock"}, []string{"p50", "max", "never"}},
		{"f/limit", []string{"passbuddy", "two-evalsha"}, []string{"pairs", "server", "commands"}},
	} {
		c := findCase(t, b, run.key)
		for _, key := range run.contenders {
			m, err := c.Measure(t.Context(), b, key)
			if err != nil {
				t.Errorf("%s, %s: %v", run.key, key, err)
				continue
			}
			for _, metric := range run.metrics {
				if _, ok := m[metric]; !ok {
					t.Errorf("%s, %s: no %s in %v", run.key, key, metric, m)
				}
			}
		}
	}
}

func TestEveryContenderOfACaseExists(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range All(&Bench{}) {
		for _, c := range w.Cases {
			if seen[c.Key] {
				t.Errorf("two cases %s", c.Key)
			}
			seen[c.Key] = true
			for _, key := range c.Contenders {
				if _, err := contender.Find(key); err != nil {
					t.Errorf("%s: %v", c.Key, err)
				}
			}
		}
	}
}

func TestSlowestWaitsAreNotLostAtTheEnd(t *testing.T) {
	a, b := waits(t, time.Millisecond, 3*time.Millisecond), waits(t, 100*time.Millisecond)
	m, err := contendedMetrics([]contendedResult{
		{Acquires: []int64{3, 1}, Changed: 2, Crossed: 1, Waits: a},
		{Acquires: []int64{0, 0}, Waits: b},
	}, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for metric, want := range map[string]float64{"acquires": 2, "changed": 0.5, "crossed": 0.25, "jain": 0.4} {
		if m[metric] != want {
			t.Errorf("%s is %v, want %v", metric, m[metric], want)
		}
	}
	if m["max"] < float64(99*time.Millisecond) {
		t.Errorf("the longest wait is %v", time.Duration(m["max"]))
	}
}

func TestNothingAcquiredIsAnError(t *testing.T) {
	if _, err := contendedMetrics([]contendedResult{{Acquires: []int64{0}, Waits: waits(t)}}, time.Second); err == nil {
		t.Error("no error")
	}
}

func TestLossFiguresCountEachHolderOnce(t *testing.T) {
	m := lossMetrics([]told{
		{fault: "stop", after: -100}, {fault: "stop", after: 50},
		{fault: "kill", never: true}, {fault: "kill", falseAlarm: true},
		{fault: "delete", after: 7},
		{fault: "pause", never: true}, {fault: "pause", falseAlarm: true},
	})
	for metric, want := range map[string]float64{
		"stop": -25, "stopLate": 50, "stopInTime": 0.5, "killInTime": 0, "delete": 7, "never": 1, "falseAlarms": 2,
	} {
		if got, ok := m[metric]; !ok || got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	if _, ok := m["kill"]; ok {
		t.Error("nobody was told of the kill")
	}
}

func TestWorkSentAgainMustBeTheSame(t *testing.T) {
	once := map[string]float64{"evalsha": 2, "zadd": 1}
	before := map[string]int64{"evalsha": 4, "zadd": 2}
	if err := sameWork(once, before, map[string]int64{"evalsha": 204, "zadd": 102}, 100); err != nil {
		t.Error(err)
	}
	if err := sameWork(once, before, map[string]int64{"evalsha": 204, "zadd": 2}, 100); err == nil {
		t.Error("an acquire that adds nothing passes for one")
	}
}

func TestViolationIsAnErrorOfItsOwn(t *testing.T) {
	page, _, remove, err := proc.TempPage()
	if err != nil {
		t.Fatal(err)
	}
	defer remove()
	w := watch(page, 1, proc.Now().Add(time.Hour))
	w.Enter(1)
	if err := violation(w); err != nil {
		t.Error(err)
	}
	w.Enter(2)
	var v *ViolationError
	if err := violation(w); !errors.As(err, &v) || v.Held != 2 {
		t.Errorf("%v", err)
	}
}

func waits(t *testing.T, all ...time.Duration) []byte {
	t.Helper()
	w := stats.NewWaits()
	for _, d := range all {
		w.Add(d)
	}
	b, err := w.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
