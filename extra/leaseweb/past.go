package leaseweb

import (
	"strconv"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
)

// trendSpan is how far back a trend reaches.
const trendSpan = 5 * time.Minute

// A past is what a semaphore's counts were in the last minutes, while somebody looked.
type past struct{ samples []sample }

type sample struct {
	at                      int64 // ms, by the server's clock
	held, capacity, waiting int32
}

func (p *past) add(v view.Semaphore) {
	at := v.ServerTime.UnixMilli()
	switch n := len(p.samples); {
	case n > 0 && at < p.samples[n-1].at-time.Second.Milliseconds(): // the server's clock has stepped back, or another server answers
		p.samples = nil
	case n > 0 && at <= p.samples[n-1].at: // seen by the list and by its own page
		p.samples = p.samples[:n-1]
	}
	first := 0
	for first < len(p.samples) && p.samples[first].at < at-trendSpan.Milliseconds() {
		first++
	}
	p.samples = append(p.samples[first:], sample{at, int32(v.Held), int32(v.Capacity), int32(v.Waiting)})
}

// A trend is a picture of the past: paths in a box of 300 by 40, of which the right edge is now.
type trend struct{ Held, Capacity, Waiting string }

const trendWidth, trendHeight = 300.0, 40.0

// trend draws steps. Where nobody looked for longer than five seconds there is a gap.
func (p *past) trend() trend {
	if len(p.samples) < 2 {
		return trend{}
	}
	top := int32(1)
	for _, s := range p.samples {
		top = max(top, s.held, s.capacity, s.waiting)
	}
	end := p.samples[len(p.samples)-1].at
	x := func(at int64) float64 { return trendWidth * (1 - float64(end-at)/float64(trendSpan.Milliseconds())) }
	y := func(n int32) float64 { return trendHeight - 1 - (trendHeight-3)*float64(n)/float64(top) }
	line := func(of func(sample) int32, closed bool) string {
		var b []byte
		start, last := 0.0, int32(0)
		finish := func(to float64) {
			if b = step(b, 'H', to); closed {
				b = append(step(step(b, 'V', trendHeight-1), 'H', start), 'Z')
			}
		}
		for i, s := range p.samples {
			switch n := of(s); {
			case i == 0 || s.at-p.samples[i-1].at > 5000:
				if i > 0 {
					finish(x(p.samples[i-1].at))
				}
				start, last = x(s.at), n
				b = point(b, start, y(n))
			case n != last:
				b = step(step(b, 'H', x(s.at)), 'V', y(n))
				last = n
			}
		}
		finish(trendWidth)
		return string(b)
	}
	return trend{
		Held:     line(func(s sample) int32 { return s.held }, true),
		Capacity: line(func(s sample) int32 { return s.capacity }, false),
		Waiting:  line(func(s sample) int32 { return s.waiting }, false),
	}
}

func point(b []byte, x, y float64) []byte {
	b = append(b, 'M')
	b = strconv.AppendFloat(b, x, 'f', 1, 64)
	b = append(b, ' ')
	return strconv.AppendFloat(b, y, 'f', 1, 64)
}

func step(b []byte, way byte, to float64) []byte {
	return strconv.AppendFloat(append(b, way), to, 'f', 1, 64)
}

// limits watch whether processes disagree: Redis keeps what the latest grant was declared with, so where two processes
// declare different limits, what it keeps changes to and fro.
type limits struct {
	now, before declared
	changed     time.Time // from before to now
	disagreed   time.Time // when what was before came back
}

type declared struct {
	capacity int
	ttl      float64
}

// forgotten is for how long a limit that came back, or may come back, counts as a disagreement: a deploy changes it once.
const forgotten = 5 * time.Minute

func (l *limits) saw(v view.Semaphore, at time.Time) {
	one := declared{v.Declared, v.TTL}
	if one.capacity == 0 || one == l.now { // nobody holds, and what was declared is gone
		return
	}
	if one == l.before && at.Sub(l.changed) < forgotten {
		l.disagreed = at
	}
	l.before, l.now, l.changed = l.now, one, at
}

// disagree reports whether processes declare different limits, and which.
func (l *limits) disagree(now time.Time) (bool, declared, declared) {
	return !l.disagreed.IsZero() && now.Sub(l.disagreed) < forgotten, l.now, l.before
}
