package leaseweb

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// A poller asks Redis once a second for what all viewers together look at, while there are any. It is one goroutine,
// which begins with the first viewer and ends after the last has gone.
type poller struct {
	// immutable
	source *source
	render func(page) []byte // what a viewer of the page gets
	every  time.Duration
	ctx    context.Context // ends with shutdown
	cancel context.CancelFunc

	wg sync.WaitGroup // the goroutine, and the viewers

	mu      sync.Mutex
	viewers map[*viewer]bool
	running bool
	closed  bool
}

// A viewer is somebody who looks at a page. A snapshot that is not fetched gives way to the next: a viewer that does
// not read delays nobody.
type viewer struct {
	page    page
	mailbox chan []byte // of one snapshot; only the poller puts one in
	asked   bool        // for it; what was known before may be old. Only the poller's
}

func newPoller(source *source, render func(page) []byte) *poller {
	p := &poller{source: source, render: render, every: time.Second, viewers: map[*viewer]bool{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// maxViewers bounds what viewers can cost: each may look at a semaphore of its own.
const maxViewers = 1000

// join adds a viewer until leave. It fails after shutdown, and where there are too many.
func (p *poller) join(of page) (*viewer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.viewers) >= maxViewers {
		return nil, false
	}
	v := &viewer{page: of, mailbox: make(chan []byte, 1)}
	p.viewers[v] = true
	p.wg.Add(1)
	if !p.running {
		p.running = true
		p.wg.Go(p.run)
	}
	return v, true
}

func (p *poller) leave(v *viewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.viewers, v)
	p.wg.Done()
}

// shutdown ends the viewers' streams and the goroutine, and waits for them.
func (p *poller) shutdown() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// run polls while somebody looks. A poll that takes long is under way while what is known is shown as old. After it the
// server rests for as long as the poll took.
func (p *poller) run() {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	var (
		answered  = make(chan []page, 1)
		began     time.Time // of the poll that is under way; zero: none is
		notBefore time.Time
	)
	for {
		now := time.Now()
		pages, some := p.watched(began.IsZero())
		switch {
		case !some:
			return
		case began.IsZero() && !now.Before(notBefore):
			began = now
			p.wg.Go(func() {
				p.source.refresh(p.ctx, pages)
				answered <- pages
			})
		case time.Since(began) > slow && !began.IsZero():
			p.publish(pages)
		default:
			p.publish(nil)
		}
		for waiting := true; waiting; {
			select {
			case pages := <-answered:
				notBefore = time.Now().Add(time.Since(began))
				began = time.Time{}
				p.publish(pages)
			case <-tick.C:
				waiting = false
			case <-p.ctx.Done():
				return
			}
		}
	}
}

// watched are the pages that somebody looks at. Where there are none, and the goroutine may end, it counts as ended.
func (p *poller) watched(mayEnd bool) (pages []page, some bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.viewers) == 0 && mayEnd {
		p.running = false
		return nil, false
	}
	distinct := map[page]bool{}
	for v := range p.viewers {
		distinct[v.page] = true
	}
	return slices.Collect(maps.Keys(distinct)), true
}

// publish renders each page once, for all who look at it. Redis has been asked for those in asked; who looks at another,
// and has just come, waits.
func (p *poller) publish(asked []page) {
	p.mu.Lock()
	by := map[page][]*viewer{}
	for v := range p.viewers {
		if v.asked = v.asked || slices.Contains(asked, v.page); v.asked {
			by[v.page] = append(by[v.page], v)
		}
	}
	p.mu.Unlock()
	for of, viewers := range by {
		snapshot := p.render(of)
		for _, v := range viewers {
			v.post(snapshot)
		}
	}
}

// post puts a snapshot in the mailbox, in place of one that is still there.
func (v *viewer) post(snapshot []byte) {
	select {
	case <-v.mailbox:
	default:
	}
	v.mailbox <- snapshot
}
