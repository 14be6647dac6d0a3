package stats

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMedianIsTheMiddleOfAnyOrder(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := Median(c.values); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	if !math.IsNaN(Median(nil)) {
		t.Error("the median of nothing is a number")
	}
}

func TestSummaryKeepsTheExtremes(t *testing.T) {
	if got, want := Summarize([]float64{2, 9, 4}), (Summary{Median: 4, Min: 2, Max: 9, Sum: 15, Rounds: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Summarize(nil); got != (Summary{}) {
		t.Errorf("%+v of no rounds", got)
	}
}

func TestPercentileIsAValueThatWasMeasured(t *testing.T) {
	values := make([]float64, 100)
	for i := range values {
		values[i] = float64(100 - i)
	}
	for p, want := range map[float64]float64{0: 1, 1: 1, 50: 50, 99: 99, 99.5: 100, 100: 100} {
		if got := Percentile(values, p); got != want {
			t.Errorf("p%v of 1 to 100 is %v, want %v", p, got, want)
		}
	}
	if got := Percentile([]float64{5}, 99); got != 5 {
		t.Errorf("p99 of one value is %v", got)
	}
}

func TestJainGoesFromOneOverNToOne(t *testing.T) {
	for _, c := range []struct {
		shares []float64
		want   float64
	}{
		{[]float64{5, 5, 5, 5}, 1},
		{[]float64{8, 0, 0, 0}, 0.25},
		{[]float64{3, 1}, 0.8},
	} {
		if got := Jain(c.shares); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("Jain(%v) = %v, want %v", c.shares, got, c.want)
		}
	}
}

func TestWaitsSurviveTheWayToAnotherProcess(t *testing.T) {
	w, other := NewWaits(), NewWaits()
	for i := range 1000 {
		w.Add(time.Duration(i+1) * time.Microsecond)
	}
	other.Add(time.Hour)
	other.Add(0)
	w.Merge(other)
	b, err := w.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeWaits(b)
	if err != nil {
		t.Fatal(err)
	}
	if got.Count() != 1002 {
		t.Errorf("%d waits, want 1002", got.Count())
	}
	if p50 := got.Percentile(50); p50 < 499*time.Microsecond || p50 > 501*time.Microsecond {
		t.Errorf("p50 is %v, want 500 µs to within a thousandth", p50)
	}
	if most := got.Max(); most < longest-time.Second || most > longest+time.Second {
		t.Errorf("the longest is %v, want %v", most, longest)
	}
}

func newWatch(capacity int64) *Watch {
	return &Watch{
		Capacity: capacity, Inside: new(atomic.Int64), Last: new(atomic.Int64), Most: new(atomic.Int64),
		Counts: func() bool { return true },
	}
}

func TestWatchSeesMoreHoldersThanPermits(t *testing.T) {
	w := newWatch(2)
	w.Enter(1)
	w.Enter(2)
	w.Leave()
	w.Enter(3)
	if w.Violated() {
		t.Error("two at a time are no violation of two permits")
	}
	w.Enter(1)
	w.Leave()
	w.Leave()
	if !w.Violated() || w.Most.Load() != 3 {
		t.Errorf("three at once were not seen: %d", w.Most.Load())
	}
}

func TestWatchForgivesWhatNoLongerCounts(t *testing.T) {
	w := newWatch(1)
	w.Enter(1)
	w.Counts = func() bool { return false }
	w.Enter(2)
	if w.Violated() {
		t.Error("a holder after the end counts")
	}
}

func TestWatchTellsWhoCameBefore(t *testing.T) {
	w := newWatch(1)
	for i, want := range []int64{0, 7, 7} {
		if got := w.Enter([]int64{7, 7, 8}[i]); got != want {
			t.Errorf("before entry %d came %d, want %d", i, got, want)
		}
		w.Leave()
	}
}

func TestWatchSeesTheMostOfManyGoroutines(t *testing.T) {
	w := newWatch(7)
	var group, all sync.WaitGroup
	all.Add(8)
	for i := range 8 {
		group.Go(func() {
			w.Enter(int64(i + 1))
			all.Done()
			all.Wait()
			w.Leave()
		})
	}
	group.Wait()
	if w.Most.Load() != 8 || !w.Violated() || w.Inside.Load() != 0 {
		t.Errorf("most %d, inside %d", w.Most.Load(), w.Inside.Load())
	}
}
