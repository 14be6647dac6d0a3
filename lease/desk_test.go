package lease

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A bench is a desk under test, and a Redis that says what the test wants it to say.
type deskTest struct {
	*testing.T
	desk
	ids int
}

const testTTL = 12 * time.Second // window 11.4 s, attempts of 1.5 s

func newDeskTest(t *testing.T, capacity int) *deskTest {
	cfg := configOf(capacity, testTTL)
	d := &deskTest{T: t}
	d.desk = newDesk(&cfg, 1, func(weight int) string { d.ids++; return idOf(d.ids, weight) }, func() float64 { return 0 })
	d.needed = time.Millisecond // the server has answered before
	return d
}

// idOf is an id as a manager makes them.
func idOf(n, weight int) string {
	id := fmt.Sprintf("%036d@me~1", n)
	if weight > 1 {
		id += fmt.Sprintf("#%d", weight)
	}
	return id
}

func (d *deskTest) waiter(now instant) *waiter {
	w := &waiter{weight: 1, done: make(chan struct{}), hold: &holding{holder: reachable{}}}
	d.ask(now, w)
	return w
}

func (d *deskTest) mustDepart(now instant, verbs ...verb) *exchange {
	d.Helper()
	ex := d.depart(now, reading{})
	if ex == nil {
		d.Fatalf("nothing was sent; want %v", verbs)
	}
	var got []verb
	for _, c := range ex.calls {
		got = append(got, c.verb)
	}
	if fmt.Sprint(got) != fmt.Sprint(verbs) {
		d.Fatalf("sent %v, want %v", got, verbs)
	}
	return ex
}

func (d *deskTest) mustNotDepart(now instant) {
	d.Helper()
	if ex := d.depart(now, reading{}); ex != nil {
		d.Fatalf("sent %v, want nothing", ex.calls)
	}
}

// serverAt is the server's clock: the test's, a year ahead.
func serverAt(now instant) int64 { return int64((now.mono - 1 + 365*24*time.Hour) / time.Microsecond) }

// expiryAt is the expiry that a script gives when it runs at now.
func expiryAt(now instant) int64 { return (serverAt(now)+999)/1000 + testTTL.Milliseconds() }

// run has the server execute ex at ran: the first granted requests get a permit, the rest is refused.
func run(ex *exchange, ran instant, granted int) {
	for i := range ex.calls {
		c := &ex.calls[i]
		switch c.verb {
		case release:
			c.removed = len(c.grants)
		case renew:
			c.server, c.expiry = serverAt(ran), expiryAt(ran)
		case acquire:
			c.server, c.answers = serverAt(ran), make([]answer, len(c.grants))
			for j := range c.answers {
				if j < granted {
					c.answers[j] = answer{expiryAt(ran), serverAt(ran) + int64(j)}
				}
			}
			if refused := len(c.grants) - granted; refused > 0 {
				c.occupancy = &occupancy{capacity: 1, held: 1, waiting: refused, first: expiryAt(ran)}
			}
		}
	}
}

func fail(ex *exchange, err error) {
	for i := range ex.calls {
		ex.calls[i].failure = failureOf(err)
	}
}

// configOf has the defaults.
func configOf(capacity int, ttl time.Duration) stateConfig {
	return stateConfig{
		Capacity: capacity, TTL: ttl, Margin: max(ttl/20, 5*time.Millisecond), RetryInterval: min(500*time.Millisecond, ttl/3),
		Handover: 5 * time.Millisecond,
	}
}

// reachable is a holder that is never lost sight of.
type reachable struct{}

func (reachable) Orphaned() bool { return false }

func (d *deskTest) mustBeServed(w *waiter) *grant {
	d.Helper()
	select {
	case <-w.done:
	default:
		d.Fatal("the waiter still waits")
	}
	if w.failed != nil {
		d.Fatalf("the waiter failed: %+v", w.failed)
	}
	return w.hold.grant
}

func (d *deskTest) mustWait(w *waiter) {
	d.Helper()
	select {
	case <-w.done:
		d.Fatalf("the waiter does not wait any more: %+v", w.failed)
	default:
	}
}

func (d *deskTest) mustHaveFailed(w *waiter, want reasonKind, trouble error) {
	d.Helper()
	select {
	case <-w.done:
	default:
		d.Fatal("the waiter still waits")
	}
	if r := w.failed; r == nil || r.kind != want || !errors.Is(r.trouble, trouble) {
		d.Fatalf("the waiter failed with %+v, want kind %d and %v", r, want, trouble)
	}
}

// held acquires a permit in no time.
func (d *deskTest) acquired(now instant) *grant {
	d.Helper()
	w := d.waiter(now)
	ex := d.mustDepart(now, acquire)
	run(ex, now, 1)
	d.arrive(now, ex)
	return d.mustBeServed(w)
}

func (d *deskTest) takeEnds() []*holding {
	return d.takeLeft().ends
}

var errNet = errors.New("connection reset")

func TestDeskServesAndForgets(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	if g.state != held || g.hold.token != serverAt(at(0))*maxHandovers {
		t.Fatalf("grant %+v", g)
	}
	d.release(at(1), g.hold)
	ex := d.mustDepart(at(1), release)
	run(ex, at(1), 0)
	d.arrive(at(1), ex)
	if !d.idle() || g.state != gone {
		t.Fatalf("something is left: %+v", d.desk)
	}
}

// Whoever was revoked goes by another name in Redis, which only the script knows.
func TestDeskReleasesAgainWhatAPlainReleaseDidNotFind(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	d.release(at(1), g.hold)
	ex := d.mustDepart(at(1), release)
	if c := ex.calls[0]; !c.plain() || !c.look || c.promote {
		t.Fatalf("nobody waits, and the release is %+v", c)
	}
	run(ex, at(1), 0)
	ex.calls[0].removed = 0
	d.arrive(at(1), ex)
	ex = d.mustDepart(at(1), release)
	if c := ex.calls[0]; c.plain() || !c.promote || c.grants[0] != g {
		t.Fatalf("the second release is %+v", c)
	}
	run(ex, at(1), 0)
	d.arrive(at(1), ex)
	if !d.idle() || g.state != gone {
		t.Fatalf("something is left: %+v", d.desk)
	}
}

// The ids are out, and the script that promotes is refused: the release is over, and the promotion is tried again until
// the next poll of those who wait may come.
func TestDeskTriesAPromotionAgainThatFailedBesideARelease(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	h := g.hold
	h.settled = make(chan struct{})
	d.release(at(time.Second), h)
	ex := d.mustDepart(at(time.Second), release)
	ex.calls[0].removed, ex.calls[0].unpromoted = 1, true
	d.arrive(at(time.Second), ex)
	<-h.settled
	if h.result != nil || g.state != gone {
		t.Fatalf("the release says %v", h.result)
	}
	tries := 0
	var latest instant
	for now := at(time.Second); !d.idle(); now = d.next() {
		if ex := d.depart(now, reading{}); ex != nil {
			if c := ex.calls[0]; c.verb != release || len(c.grants) != 0 || !c.promote {
				t.Fatalf("sent %+v, want a promotion", c)
			}
			fail(ex, redisError("TRYAGAIN Multiple keys request during rehashing of slot"))
			d.arrive(now, ex)
			tries, latest = tries+1, now
		}
	}
	if end := at(time.Second + d.cfg.RetryInterval); tries == 0 || latest.mono > end.mono {
		t.Errorf("%d tries until %v, want some until %v", tries, latest.mono, end.mono)
	}
}

// A promotion that failed and was mended long ago does not count against the next one.
func TestDeskTriesEachPromotionThatFailedAgain(t *testing.T) {
	d := newDeskTest(t, 1)
	now := at(0)
	for round := range 3 {
		g := d.acquired(now)
		now = now.add(time.Second)
		d.release(now, g.hold)
		ex := d.mustDepart(now, release)
		ex.calls[0].removed, ex.calls[0].unpromoted = 1, true
		d.arrive(now, ex)
		ex = d.depart(now, reading{})
		if ex == nil || !ex.calls[0].promote {
			t.Fatalf("round %d: the promotion is not tried again", round)
		}
		run(ex, now, 0)
		d.arrive(now, ex)
		now = now.add(10 * d.cfg.RetryInterval)
	}
}

func TestDeskSetsExpiriesAfterAStepBackUntilARenewalIsAnswered(t *testing.T) {
	d := newDeskTest(t, 1)
	d.acquired(at(0))
	renewal := func(now instant) *exchange {
		t.Helper()
		d.renewAt = now
		ex := d.mustDepart(now, renew)
		if !ex.calls[0].setBack {
			t.Fatal("the renewal only raises expiries")
		}
		return ex
	}
	d.setBack = true
	ex := renewal(at(time.Second))
	fail(ex, errNet)
	d.arrive(at(time.Second), ex)
	ex = renewal(at(2 * time.Second)) // the one before was not answered
	d.setBack = true                  // another step, while it is under way
	run(ex, at(2*time.Second), 0)
	d.arrive(at(2*time.Second), ex)
	ex = renewal(at(3 * time.Second)) // the one before may have run before that step
	run(ex, at(3*time.Second), 0)
	d.arrive(at(3*time.Second), ex)
	d.renewAt = at(4 * time.Second)
	if ex = d.mustDepart(at(4*time.Second), renew); ex.calls[0].setBack {
		t.Error("expiries are set for ever")
	}
}

func TestDeskCountsTheWindowFromTheSending(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(time.Second), 1) // the request took a second to arrive
	d.arrive(at(1200*time.Millisecond), ex)
	g := d.mustBeServed(w)
	if want := at(0).add(testTTL - d.cfg.Margin); g.until.end() != want {
		t.Fatalf("the window ends at %v, want %v", g.until.end(), want)
	}
}

func TestDeskRenewsAThirdOfTheWindowLaterAndTogether(t *testing.T) {
	d := newDeskTest(t, 3)
	a := d.acquired(at(0))
	b := d.acquired(at(time.Second))
	due := at(0).add(d.window / 3)
	if d.next() != due {
		t.Fatalf("next call at %v, want %v", d.next(), due)
	}
	d.mustNotDepart(due.add(-d.early() - time.Millisecond))
	ex := d.mustDepart(due, renew)
	if len(ex.calls[0].grants) != 2 {
		t.Fatalf("%d grants renewed, want both", len(ex.calls[0].grants))
	}
	run(ex, due, 0)
	d.arrive(due, ex)
	want := windowEnd(due, expiryAt(due), serverAt(due), d.cfg.Margin)
	if a.until.end() != want || b.until.end() != want {
		t.Fatalf("windows end at %v and %v, want %v", a.until.end(), b.until.end(), want)
	}
}

func TestDeskFitsTwoRenewalsThatHangIntoEveryWindow(t *testing.T) {
	d := newDeskTest(t, 1)
	d.random = func() float64 { return 0 } // the longest delays
	g := d.acquired(at(0))
	attempts := 0
	for now := at(0); !now.reached(g.until.end()); now = now.add(time.Millisecond) {
		d.tick(now)
		if d.depart(now, reading{}) != nil {
			attempts++
		}
	}
	if attempts < 2 {
		t.Fatalf("%d attempts fit into the window, want 2 at least", attempts)
	}
}

func TestDeskEndsALeaseWhenItsWindowEndsAndNothingRevivesIt(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	h := g.hold
	due := at(0).add(d.window / 3)
	ex := d.mustDepart(due, renew)
	d.tick(g.until.end().add(-1))
	if len(d.takeEnds()) != 0 {
		t.Fatal("the lease ended before its window")
	}
	d.tick(g.until.end())
	if ends := d.takeEnds(); len(ends) != 1 || ends[0] != h || h.ending.kind != expired {
		t.Fatalf("ended: %v", ends)
	}
	run(ex, due, 0) // in time for Redis, too late for us
	end := g.until.end()
	d.arrive(end.add(time.Millisecond), ex)
	if g.state == held || g.until.end() != end || len(d.held) != 0 {
		t.Fatal("a late reply revived the lease")
	}
}

func TestDeskEndsALeaseThatALateReplyFindsPastItsWindow(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	end := g.until.end()
	ex := d.mustDepart(at(0).add(d.window/3), renew)
	run(ex, end, 0)
	d.arrive(end, ex) // no timer has run: the reply is the first to see the time
	if g.state == held || len(d.takeEnds()) != 1 {
		t.Fatal("the lease goes on")
	}
}

func TestDeskTakesTheServersWordThatAPermitIsGone(t *testing.T) {
	d := newDeskTest(t, 3)
	a, b := d.acquired(at(0)), d.acquired(at(0))
	ha := a.hold
	now := at(0).add(d.window / 3)
	ex := d.mustDepart(now, renew)
	run(ex, now, 0)
	ex.calls[0].lost = []int64{1}
	d.arrive(now, ex)
	if ends := d.takeEnds(); len(ends) != 1 || ha.ending.kind != removed {
		t.Fatalf("ended: %v", ends)
	}
	if a.state != gone || b.state != held {
		t.Fatalf("states %v, %v", a.state, b.state)
	}
}

func TestDeskExtendsByTheLateReplyOfAnAttemptThatWasGivenUp(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	first := at(0).add(d.window / 3)
	ex := d.mustDepart(first, renew)
	d.tick(ex.giveUp)
	if d.flight != nil {
		t.Fatal("the attempt was not given up")
	}
	run(ex, first, 0)
	d.arrive(ex.giveUp.add(time.Second), ex)
	if want := windowEnd(first, expiryAt(first), serverAt(first), d.cfg.Margin); g.until.end() != want {
		t.Fatalf("the window ends at %v, want %v", g.until.end(), want)
	}
}

func TestDeskGivesBackAGrantWhoseWindowHasEnded(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	id := ex.calls[0].grants[0].id
	run(ex, at(0), 1)
	late := at(0).add(d.window)
	d.arrive(late, ex)
	d.mustWait(w)
	ex = d.mustDepart(late, release, acquire)
	if got := ex.calls[0].grants[0].id; got != id {
		t.Fatalf("released %s, want %s", got, id)
	}
	if got := ex.calls[1].grants[0].id; got == id {
		t.Fatalf("asked again under %s, which was released", id)
	}
}

func TestDeskRenewsAGrantThatIsOldBeforeItsHolderGetsIt(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(0), 1)
	slow := at(0).add(d.window/3 + time.Second)
	d.flight.giveUp = slow.add(1) // a slow reply, not one that was given up
	d.arrive(slow, ex)
	d.mustWait(w)
	ex = d.mustDepart(slow, renew)
	run(ex, slow, 0)
	d.arrive(slow, ex)
	d.mustBeServed(w)
}

func TestDeskFreesWhatACancelledWaiterMayStillGet(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	d.leave(at(1), w, reasonCancelled)
	run(ex, at(2), 1)
	d.arrive(at(3), ex)
	ex = d.mustDepart(at(3), release)
	run(ex, at(3), 0)
	d.arrive(at(3), ex)
	if !d.idle() {
		t.Fatal("something is left")
	}
}

func TestDeskReleasesAfterARequestCanTakeAPermitNoMore(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	d.leave(at(1), w, reasonCancelled)
	d.tick(ex.giveUp) // no reply
	if d.next().mono < ex.lateBy.mono {
		t.Fatalf("released at %v, while the request may still arrive until %v", d.next(), ex.lateBy)
	}
	d.mustDepart(ex.lateBy, release)
}

func TestDeskAsksNotAfterTheAttemptIsGivenUp(t *testing.T) {
	d := newDeskTest(t, 1)
	d.waiter(at(time.Second))
	known := reading{sent: at(0), received: at(0), micros: serverAt(at(0))}
	ex := d.depart(at(time.Second), known)
	giveUp := serverAt(at(time.Second).add(testTTL / 8))
	if ex.notAfter < giveUp || ex.notAfter > giveUp+10_000 {
		t.Fatalf("notAfter = %d, want just after %d", ex.notAfter, giveUp)
	}
}

func TestDeskKeepsARequestsIDWhileItsOutcomeIsUnknown(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	w.answered = true // it rides trouble out
	ex := d.mustDepart(at(0), acquire)
	id := ex.calls[0].grants[0].id
	fail(ex, errNet)
	d.arrive(at(1), ex)
	d.mustWait(w)
	ex = d.mustDepart(d.next(), acquire)
	if got := ex.calls[0].grants[0].id; got != id {
		t.Fatalf("asked again under %s: the permit of %s would leak", got, id)
	}
}

func TestDeskReleasesTwiceWhenAnOldRequestMayStillBeOnItsWay(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	w.answered = true
	lost := d.mustDepart(at(0), acquire)
	fail(lost, errNet)
	d.arrive(at(1), lost)
	again := d.mustDepart(d.next(), acquire)
	now := again.sent.add(time.Millisecond)
	run(again, now, 1)
	d.arrive(now, again)
	g := d.mustBeServed(w)
	g.unanswered, g.lateBy = 1, now.add(time.Second) // the first request was never answered
	h := g.hold
	d.release(now, h)
	ex := d.mustDepart(now, release)
	run(ex, now, 0)
	d.arrive(now, ex)
	if d.idle() {
		t.Fatal("the first request may still take a permit, and nobody would know")
	}
	d.mustDepart(now.add(time.Second), release)
}

func TestDeskTellsTheFirstCallersOfTroubleAndLetsTheOthersRideItOut(t *testing.T) {
	d := newDeskTest(t, 2)
	old := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(0), 0)
	d.arrive(at(0), ex)
	fresh := d.waiter(at(1))
	ex = d.mustDepart(at(1), acquire)
	fail(ex, errNet)
	d.arrive(at(2), ex)
	d.mustHaveFailed(fresh, unanswered, errNet)
	d.mustWait(old)
	ex = d.mustDepart(d.next(), acquire)
	fail(ex, redisError("WRONGTYPE Operation against a key"))
	d.arrive(ex.sent, ex)
	d.mustHaveFailed(old, unanswered, redisError("WRONGTYPE Operation against a key"))
}

type redisError string

func (e redisError) Error() string { return string(e) }
func (e redisError) RedisError()   {}

var _ redis.Error = redisError("")

func TestDeskGivesUpOnAServerThatSaysNothing(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	now := at(0)
	for range maxSilent {
		d.mustWait(w)
		ex := d.mustDepart(now, acquire)
		d.tick(ex.giveUp)
		now = d.next()
	}
	d.mustHaveFailed(w, unanswered, errNoReply)
}

func TestDeskPollsJustAfterTheFirstExpiry(t *testing.T) {
	d := newDeskTest(t, 1)
	d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(0), 0)
	soon := serverAt(at(0))/1000 + 100
	ex.calls[0].occupancy.first = soon
	d.arrive(at(0), ex)
	if want := at(101 * time.Millisecond); d.next() != want {
		t.Fatalf("next poll at %v, want %v", d.next(), want)
	}
}

func TestDeskPollsForAllWaitersInOneCall(t *testing.T) {
	d := newDeskTest(t, 3)
	for range 10 {
		d.waiter(at(0))
	}
	ex := d.mustDepart(at(0), acquire)
	if n := len(ex.calls[0].grants); n != 4 {
		t.Fatalf("asked for %d, want as many as could be served and one more", n)
	}
	run(ex, at(0), 0)
	d.arrive(at(0), ex)
	d.mustNotDepart(at(d.cfg.RetryInterval / 2))
	d.mustDepart(at(d.cfg.RetryInterval), acquire)
}

func TestDeskForgetsNoCallerThatCameDuringAnExchange(t *testing.T) {
	d := newDeskTest(t, 5)
	d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	w := d.waiter(at(1))
	run(ex, at(1), 0)
	d.arrive(at(2), ex)
	ex = d.mustDepart(at(2), acquire)
	run(ex, at(2), 2)
	d.arrive(at(2), ex)
	d.mustBeServed(w)
}

func TestDeskAsksForTheNextWaiterWithTheRelease(t *testing.T) {
	d := newDeskTest(t, 1)
	d.cfg.Handover = -1
	g := d.acquired(at(0))
	w := d.waiter(at(1))
	ex := d.mustDepart(at(1), acquire)
	run(ex, at(1), 0)
	d.arrive(at(1), ex)
	d.release(at(2), g.hold)
	ex = d.mustDepart(at(2), release, acquire)
	run(ex, at(2), 1)
	d.arrive(at(2), ex)
	d.mustBeServed(w)
}

func TestDeskEndsAHoldAtMaxHoldAndStopsRenewing(t *testing.T) {
	d := newDeskTest(t, 1)
	w := &waiter{weight: 1, done: make(chan struct{}), hold: &holding{holder: reachable{}, maxHold: time.Second}}
	d.ask(at(0), w)
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(0), 1)
	d.arrive(at(0), ex)
	h := d.mustBeServed(w).hold
	if d.next() != at(time.Second) {
		t.Fatalf("next call at %v", d.next())
	}
	d.tick(at(time.Second))
	if ends := d.takeEnds(); len(ends) != 1 || h.ending.kind != heldTooLong {
		t.Fatalf("ended: %v", ends)
	}
	d.mustNotDepart(at(5 * time.Second)) // neither renewed nor given back: its holder is stuck
	h.settled = make(chan struct{})
	d.release(at(6*time.Second), h)
	ex = d.mustDepart(at(6*time.Second), release)
	run(ex, at(6*time.Second), 0)
	d.arrive(at(6*time.Second), ex)
	<-h.settled
}

func TestDeskWaitsForAReleaseNoLongerThanTheWindow(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	h := g.hold
	h.settled = make(chan struct{})
	d.release(at(1), h)
	d.mustDepart(at(1), release)
	d.tick(g.until.end().add(-1))
	select {
	case <-h.settled:
		t.Fatal("given up too early")
	default:
	}
	d.tick(g.until.end())
	<-h.settled
	if h.result == nil || h.result.kind != unanswered {
		t.Fatalf("result: %+v", h.result)
	}
}

func TestDeskShrinksWindowsByAJumpOfTheServersClockAndRenewsAtOnce(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	end := g.until.end()
	d.shorten(at(1), 2*time.Second)
	if g.until.end() != end.add(-2*time.Second) {
		t.Fatalf("the window ends at %v", g.until.end())
	}
	d.mustDepart(at(1), renew)
}

func TestDeskSplitsLongLists(t *testing.T) {
	d := newDeskTest(t, 1200)
	for range 1200 {
		d.waiter(at(0))
	}
	ex := d.mustDepart(at(0), acquire, acquire, acquire)
	if n := len(ex.calls[2].grants); n != 200 {
		t.Fatalf("%d ids in the last call, want 200", n)
	}
	run(ex, at(0), maxIDs)
	d.arrive(at(0), ex)
	d.mustDepart(at(0).add(d.window/3), renew, renew, renew)
}

func TestDeskDropsDebtsThatTimeHasPaid(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	d.leave(at(1), w, reasonCancelled)
	fail(ex, errNet)
	d.arrive(at(2), ex)
	for now := d.next(); !d.idle(); now = d.next() {
		if now.reached(at(3 * testTTL)) {
			t.Fatal("an outage is paid for for ever")
		}
		d.tick(now)
		if ex := d.depart(now, reading{}); ex != nil {
			fail(ex, errNet)
			d.arrive(now, ex)
		}
	}
}

func TestDeskAsksUnderAFreshIDWhenAServedWaiterAsksAgain(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(0), 1)
	d.arrive(at(0), ex)
	g := d.mustBeServed(w)
	end := g.until.end() // the process slept past the window before it took the lease
	d.tick(end)
	d.takeEnds()
	d.release(end, w.hold)
	ex = d.mustDepart(end, release)
	run(ex, end, 0)
	d.arrive(end, ex)
	w.done, w.hold = make(chan struct{}), &holding{holder: reachable{}}
	d.ask(end, w)
	ex = d.mustDepart(end, acquire)
	if ex.calls[0].grants[0] == g {
		t.Error("asks under an id that was released")
	}
	run(ex, end, 1)
	d.arrive(end, ex)
	d.mustBeServed(w)
}

func TestDeskAsksForOneAttemptBehindAllWaiters(t *testing.T) {
	d := newDeskTest(t, 1)
	d.waiter(at(0))
	once := &waiter{weight: 1, once: true, done: make(chan struct{}), hold: &holding{holder: reachable{}}}
	d.ask(at(0), once)
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(0), 0)
	d.arrive(at(0), ex)
	d.mustHaveFailed(once, noRoom, nil)
}

func TestDeskReleasesWhatALateReplyLeavesInDoubt(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	ex.calls[0].server, ex.calls[0].late, ex.calls[0].answers, ex.calls[0].occupancy = serverAt(at(0)), true, nil, nil // the client sent it twice: the first may have been granted
	d.arrive(at(1), ex)
	d.leave(at(2), w, reasonCancelled)
	d.mustDepart(ex.lateBy, release)
}

func TestDeskSpendsNothingOnEventsThatNobodyListensTo(t *testing.T) {
	d := newDeskTest(t, 1)
	h := d.acquired(at(0)).hold
	if n := testing.AllocsPerRun(100, func() { d.happened(at(1), h, stateEvent{kind: eventReleased, err: errNet}) }); n != 0 || d.left != nil {
		t.Errorf("%v allocations, %v", n, d.left)
	}
}

func BenchmarkEventsUnused(b *testing.B) {
	d := newDesk(&stateConfig{}, 1, nil, nil)
	h := &holding{grant: &grant{}}
	b.ReportAllocs()
	for b.Loop() {
		d.happened(at(1), h, stateEvent{kind: eventReleased})
	}
}

func TestDeskAsksAgainForAWaiterWhoseRequestCameLate(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	ex.calls[0].server, ex.calls[0].late, ex.calls[0].answers, ex.calls[0].occupancy = serverAt(at(0)), true, nil, nil // it asked for nothing, and stands in no queue
	d.arrive(at(1), ex)
	ex = d.mustDepart(d.next(), acquire)
	run(ex, ex.sent, 1)
	d.arrive(ex.sent, ex)
	d.mustBeServed(w)
}

// After a step back of the server's clock a window can be longer than two TTLs.
func TestDeskAnswersAReleaseBeforeItForgetsIt(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	g.until.set(at(10 * testTTL))
	h := g.hold
	h.settled = make(chan struct{})
	d.release(at(1), h)
	for now := at(1); !d.idle(); now = d.next() {
		d.tick(now)
		if ex := d.depart(now, reading{}); ex != nil {
			fail(ex, errNet)
			d.arrive(now, ex)
		}
	}
	<-h.settled
}

// The first call of a process makes a connection, and the next one is quicker: it must not put its callers
// in front of the first call's. The server counts a place from when it carries the call out.
func TestDeskKeepsTheOrderOfItsCallersWhenTheirFirstCallIsSlow(t *testing.T) {
	d := newDeskTest(t, 3)
	ms := func(n int) instant { return at(time.Duration(n) * time.Millisecond) }
	first := d.waiter(ms(0))
	slow := d.mustDepart(ms(0), acquire)
	d.waiter(ms(5))
	d.waiter(ms(6))
	run(slow, ms(20), 0)
	d.arrive(ms(20), slow)
	quick := d.mustDepart(ms(20), acquire)
	run(quick, ms(20), 0)
	d.arrive(ms(20), quick)
	d.leave(ms(21), first, reasonCancelled) // the third moves up
	last := d.mustDepart(ms(21), release, acquire)
	places := append(placesOf(&slow.calls[0], serverAt(ms(20))), placesOf(&quick.calls[0], serverAt(ms(20)))...)
	places = append(places, placesOf(&last.calls[1], serverAt(ms(21)))[1])
	if len(places) != 3 || !slices.IsSorted(places) || places[0] == places[1] || places[1] == places[2] {
		t.Errorf("places in the queue are %v, want them in the order of arrival", places)
	}
}

// The same when the answer of the slow call is lost: it may have been carried out late, before the next call.
func TestDeskKeepsTheOrderOfItsCallersWhenTheirFirstCallIsNotAnswered(t *testing.T) {
	d := newDeskTest(t, 3)
	d.waiter(at(0))
	slow := d.mustDepart(at(0), acquire)
	d.waiter(at(10 * time.Millisecond))
	ran := serverAt(at(1400 * time.Millisecond))
	second := at(d.cfg.attempt())
	d.tick(second) // given up
	d.pollAt = second
	quick := d.mustDepart(second, acquire)
	run(quick, second, 0)
	d.arrive(second, quick)
	d.waiter(second)
	d.full.capacity = 3
	d.join(second)
	third := d.mustDepart(second, acquire)
	places := append(placesOf(&slow.calls[0], ran), placesOf(&quick.calls[0], serverAt(second))[1])
	places = append(places, placesOf(&third.calls[0], serverAt(second))[0])
	if len(places) != 3 || !slices.IsSorted(places) || places[0] == places[1] || places[1] == places[2] {
		t.Errorf("places in the queue are %v, want them in the order of arrival", places)
	}
}

// What keeps that order must not add up: who comes with many others is not behind by a round trip for each.
func TestDeskLosesNoPlaceToABurst(t *testing.T) {
	d := newDeskTest(t, 1)
	const trip = 50 * time.Millisecond
	var all []*waiter
	for range 60 {
		all = append(all, d.waiter(at(0)))
	}
	now := at(0)
	for _, w := range all {
		if ex := d.depart(now, reading{}); ex != nil {
			now = now.add(trip)
			c := &ex.calls[len(ex.calls)-1]
			for i, place := range placesOf(c, serverAt(now)) {
				late := time.Duration(place-serverAt(c.grants[i].waiter.since)) * time.Microsecond
				if late > trip+time.Millisecond {
					t.Fatalf("a caller's place is %v after its arrival, want one trip", late)
				}
			}
			run(ex, now, 0)
			d.arrive(now, ex)
		}
		d.leave(now, w, reasonCancelled)
	}
}

// While permits pass from caller to caller inside a process, places in the shared queue are not worth a call;
// but a long Handover must not keep a caller out of the queue for long.
func TestDeskJoinsTheQueueWithinARetryInterval(t *testing.T) {
	d := newDeskTest(t, 1)
	long := *d.cfg
	long.Handover = time.Minute
	d.cfg = &long
	d.acquired(at(0))
	d.full.busy = true
	d.waiter(at(0))
	if d.mustNotDepart(at(0)); d.joinAt.isZero() || at(0).until(d.joinAt) > long.RetryInterval {
		t.Errorf("the second caller joins the queue in %v, want at most %v", at(0).until(d.joinAt), long.RetryInterval)
	}
}
