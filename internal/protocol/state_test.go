package protocol

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// A bench is a state under test, and a Redis that says what the test wants it to say.
type stateTest struct {
	*testing.T
	State
	ids int
}

const testTTL = 12 * time.Second // window 11.4 s, attempts of 1.5 s

func newStateTest(t *testing.T, capacity int) *stateTest {
	cfg := configOf(capacity, testTTL)
	d := &stateTest{T: t}
	d.State = New(&cfg, 1, func(weight int) string { d.ids++; return idOf(d.ids, weight) }, func() float64 { return 0 })
	d.Needed = time.Millisecond // the server has answered before
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

func (d *stateTest) waiter(now Instant) *Waiter {
	w := &Waiter{Weight: 1, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	d.Ask(now, w)
	return w
}

func (d *stateTest) mustDepart(now Instant, verbs ...Verb) *Batch {
	d.Helper()
	ex := d.Depart(now, Reading{})
	if ex == nil {
		d.Fatalf("nothing was sent; want %v", verbs)
	}
	var got []Verb
	for _, c := range ex.Calls {
		got = append(got, c.Verb)
	}
	if fmt.Sprint(got) != fmt.Sprint(verbs) {
		d.Fatalf("sent %v, want %v", got, verbs)
	}
	return ex
}

func (d *stateTest) mustNotDepart(now Instant) {
	d.Helper()
	if ex := d.Depart(now, Reading{}); ex != nil {
		d.Fatalf("sent %v, want nothing", ex.Calls)
	}
}

// serverAt is the server's clock: the test's, a year ahead.
func serverAt(now Instant) int64 { return int64((now.Mono - 1 + 365*24*time.Hour) / time.Microsecond) }

// expiryAt is the expiry that a script gives when it runs at now.
func expiryAt(now Instant) int64 { return (serverAt(now)+999)/1000 + testTTL.Milliseconds() }

// run has the server execute ex at ran: the first granted requests get a permit, the rest is refused.
func run(ex *Batch, ran Instant, granted int) {
	for i := range ex.Calls {
		c := &ex.Calls[i]
		switch c.Verb {
		case Release:
			c.Removed = len(c.Grants)
		case Renew:
			c.Server, c.Expiry = serverAt(ran), expiryAt(ran)
		case Acquire:
			c.Server, c.Answers = serverAt(ran), make([]Answer, len(c.Grants))
			for j := range c.Answers {
				if j < granted {
					c.Answers[j] = Answer{expiryAt(ran), serverAt(ran) + int64(j)}
				}
			}
			if refused := len(c.Grants) - granted; refused > 0 {
				c.Occupancy = &Occupancy{Capacity: 1, Held: 1, Waiting: refused, First: expiryAt(ran)}
			}
		}
	}
}

func fail(ex *Batch, err error) {
	for i := range ex.Calls {
		ex.Calls[i].Failure = Failure{Err: err}
	}
}

// configOf has the defaults.
func configOf(capacity int, ttl time.Duration) Config {
	return Config{
		Capacity: capacity, TTL: ttl, Margin: max(ttl/20, 5*time.Millisecond), RetryInterval: min(500*time.Millisecond, ttl/3),
		Handover: 5 * time.Millisecond,
	}
}

// reachable is a holder that is never lost sight of.
type reachable struct{}

func (reachable) Orphaned() bool { return false }

func (d *stateTest) mustBeServed(w *Waiter) *Grant {
	d.Helper()
	select {
	case <-w.Done:
	default:
		d.Fatal("the waiter still waits")
	}
	if w.Failed != nil {
		d.Fatalf("the waiter failed: %+v", w.Failed)
	}
	return w.Holding.Grant
}

func (d *stateTest) mustWait(w *Waiter) {
	d.Helper()
	select {
	case <-w.Done:
		d.Fatalf("the waiter does not wait any more: %+v", w.Failed)
	default:
	}
}

func (d *stateTest) mustHaveFailed(w *Waiter, want reasonKind, trouble error) {
	d.Helper()
	select {
	case <-w.Done:
	default:
		d.Fatal("the waiter still waits")
	}
	if r := w.Failed; r == nil || r.Kind != want || !errors.Is(r.Trouble, trouble) {
		d.Fatalf("the waiter failed with %+v, want kind %d and %v", r, want, trouble)
	}
}

// held acquires a permit in no time.
func (d *stateTest) acquired(now Instant) *Grant {
	d.Helper()
	w := d.waiter(now)
	ex := d.mustDepart(now, Acquire)
	run(ex, now, 1)
	d.Arrive(now, ex)
	return d.mustBeServed(w)
}

func (d *stateTest) takeEnds() []*Holding {
	return d.TakeEffects().Ends
}

var (
	errNet       = errors.New("connection reset")
	errWrongType = errors.New("WRONGTYPE Operation against a key")
)

func TestStateServesAndForgets(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	if g.State != Held || g.Holding.Token != serverAt(at(0))*maxHandovers {
		t.Fatalf("grant %+v", g)
	}
	d.Release(at(1), g.Holding)
	ex := d.mustDepart(at(1), Release)
	run(ex, at(1), 0)
	d.Arrive(at(1), ex)
	if !d.Idle() || g.State != gone {
		t.Fatalf("something is left: %+v", d.State)
	}
}

// Whoever was revoked goes by another name in Redis, which only the script knows.
func TestStateReleasesAgainWhatAPlainReleaseDidNotFind(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	d.Release(at(1), g.Holding)
	ex := d.mustDepart(at(1), Release)
	if c := ex.Calls[0]; !c.Plain() || !c.Look || c.Promote {
		t.Fatalf("nobody waits, and the release is %+v", c)
	}
	run(ex, at(1), 0)
	ex.Calls[0].Removed = 0
	d.Arrive(at(1), ex)
	ex = d.mustDepart(at(1), Release)
	if c := ex.Calls[0]; c.Plain() || !c.Promote || c.Grants[0] != g {
		t.Fatalf("the second release is %+v", c)
	}
	run(ex, at(1), 0)
	d.Arrive(at(1), ex)
	if !d.Idle() || g.State != gone {
		t.Fatalf("something is left: %+v", d.State)
	}
}

// The ids are out, and the script that promotes is refused: the release is over, and the promotion is tried again until
// the next poll of those who wait may come.
func TestStateTriesAPromotionAgainThatFailedBesideARelease(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	h := g.Holding
	h.Confirmed = make(chan struct{})
	d.Release(at(time.Second), h)
	ex := d.mustDepart(at(time.Second), Release)
	ex.Calls[0].Removed, ex.Calls[0].Unpromoted = 1, true
	d.Arrive(at(time.Second), ex)
	<-h.Confirmed
	if h.Result != nil || g.State != gone {
		t.Fatalf("the release says %v", h.Result)
	}
	tries := 0
	var latest Instant
	for now := at(time.Second); !d.Idle(); now = d.Next() {
		if ex := d.Depart(now, Reading{}); ex != nil {
			if c := ex.Calls[0]; c.Verb != Release || len(c.Grants) != 0 || !c.Promote {
				t.Fatalf("sent %+v, want a promotion", c)
			}
			fail(ex, errors.New("TRYAGAIN"))
			d.Arrive(now, ex)
			tries, latest = tries+1, now
		}
	}
	if end := at(time.Second + d.Config.RetryInterval); tries == 0 || latest.Mono > end.Mono {
		t.Errorf("%d tries until %v, want some until %v", tries, latest.Mono, end.Mono)
	}
}

// A promotion that failed and was mended long ago does not count against the next one.
func TestStateTriesEachPromotionThatFailedAgain(t *testing.T) {
	d := newStateTest(t, 1)
	now := at(0)
	for round := range 3 {
		g := d.acquired(now)
		now = now.Add(time.Second)
		d.Release(now, g.Holding)
		ex := d.mustDepart(now, Release)
		ex.Calls[0].Removed, ex.Calls[0].Unpromoted = 1, true
		d.Arrive(now, ex)
		ex = d.Depart(now, Reading{})
		if ex == nil || !ex.Calls[0].Promote {
			t.Fatalf("round %d: the promotion is not tried again", round)
		}
		run(ex, now, 0)
		d.Arrive(now, ex)
		now = now.Add(10 * d.Config.RetryInterval)
	}
}

func TestStateSetsExpiriesAfterAStepBackUntilARenewalIsAnswered(t *testing.T) {
	d := newStateTest(t, 1)
	d.acquired(at(0))
	renewal := func(now Instant) *Batch {
		t.Helper()
		d.RenewAt = now
		ex := d.mustDepart(now, Renew)
		if !ex.Calls[0].SetBack {
			t.Fatal("the renewal only raises expiries")
		}
		return ex
	}
	d.SetBack = true
	ex := renewal(at(time.Second))
	fail(ex, errNet)
	d.Arrive(at(time.Second), ex)
	ex = renewal(at(2 * time.Second)) // the one before was not answered
	d.SetBack = true                  // another step, while it is under way
	run(ex, at(2*time.Second), 0)
	d.Arrive(at(2*time.Second), ex)
	ex = renewal(at(3 * time.Second)) // the one before may have run before that step
	run(ex, at(3*time.Second), 0)
	d.Arrive(at(3*time.Second), ex)
	d.RenewAt = at(4 * time.Second)
	if ex = d.mustDepart(at(4*time.Second), Renew); ex.Calls[0].SetBack {
		t.Error("expiries are set for ever")
	}
}

func TestStateCountsTheWindowFromTheSending(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(time.Second), 1) // the request took a second to arrive
	d.Arrive(at(1200*time.Millisecond), ex)
	g := d.mustBeServed(w)
	if want := at(0).Add(testTTL - d.Config.Margin); g.Until.End() != want {
		t.Fatalf("the window ends at %v, want %v", g.Until.End(), want)
	}
}

func TestStateRenewsAThirdOfTheWindowLaterAndTogether(t *testing.T) {
	d := newStateTest(t, 3)
	a := d.acquired(at(0))
	b := d.acquired(at(time.Second))
	due := at(0).Add(d.Window / 3)
	if d.Next() != due {
		t.Fatalf("next call at %v, want %v", d.Next(), due)
	}
	d.mustNotDepart(due.Add(-d.early() - time.Millisecond))
	ex := d.mustDepart(due, Renew)
	if len(ex.Calls[0].Grants) != 2 {
		t.Fatalf("%d grants renewed, want both", len(ex.Calls[0].Grants))
	}
	run(ex, due, 0)
	d.Arrive(due, ex)
	want := WindowEnd(due, expiryAt(due), serverAt(due), d.Config.Margin)
	if a.Until.End() != want || b.Until.End() != want {
		t.Fatalf("windows end at %v and %v, want %v", a.Until.End(), b.Until.End(), want)
	}
}

func TestStateFitsTwoRenewalsThatHangIntoEveryWindow(t *testing.T) {
	d := newStateTest(t, 1)
	d.random = func() float64 { return 0 } // the longest delays
	g := d.acquired(at(0))
	attempts := 0
	for now := at(0); !now.Reached(g.Until.End()); now = now.Add(time.Millisecond) {
		d.Tick(now)
		if d.Depart(now, Reading{}) != nil {
			attempts++
		}
	}
	if attempts < 2 {
		t.Fatalf("%d attempts fit into the window, want 2 at least", attempts)
	}
}

func TestStateEndsALeaseWhenItsWindowEndsAndNothingRevivesIt(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	h := g.Holding
	due := at(0).Add(d.Window / 3)
	ex := d.mustDepart(due, Renew)
	d.Tick(g.Until.End().Add(-1))
	if len(d.takeEnds()) != 0 {
		t.Fatal("the lease ended before its window")
	}
	d.Tick(g.Until.End())
	if ends := d.takeEnds(); len(ends) != 1 || ends[0] != h || h.Ending.Kind != Expired {
		t.Fatalf("ended: %v", ends)
	}
	run(ex, due, 0) // in time for Redis, too late for us
	end := g.Until.End()
	d.Arrive(end.Add(time.Millisecond), ex)
	if g.State == Held || g.Until.End() != end || len(d.held) != 0 {
		t.Fatal("a late reply revived the lease")
	}
}

func TestStateEndsALeaseThatALateReplyFindsPastItsWindow(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	end := g.Until.End()
	ex := d.mustDepart(at(0).Add(d.Window/3), Renew)
	run(ex, end, 0)
	d.Arrive(end, ex) // no timer has run: the reply is the first to see the time
	if g.State == Held || len(d.takeEnds()) != 1 {
		t.Fatal("the lease goes on")
	}
}

func TestStateTakesTheServersWordThatAPermitIsGone(t *testing.T) {
	d := newStateTest(t, 3)
	a, b := d.acquired(at(0)), d.acquired(at(0))
	ha := a.Holding
	now := at(0).Add(d.Window / 3)
	ex := d.mustDepart(now, Renew)
	run(ex, now, 0)
	ex.Calls[0].Lost = []int64{1}
	d.Arrive(now, ex)
	if ends := d.takeEnds(); len(ends) != 1 || ha.Ending.Kind != Removed {
		t.Fatalf("ended: %v", ends)
	}
	if a.State != gone || b.State != Held {
		t.Fatalf("states %v, %v", a.State, b.State)
	}
}

func TestStateExtendsByTheLateReplyOfAnAttemptThatWasGivenUp(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	first := at(0).Add(d.Window / 3)
	ex := d.mustDepart(first, Renew)
	d.Tick(ex.giveUp)
	if d.Batch != nil {
		t.Fatal("the attempt was not given up")
	}
	run(ex, first, 0)
	d.Arrive(ex.giveUp.Add(time.Second), ex)
	if want := WindowEnd(first, expiryAt(first), serverAt(first), d.Config.Margin); g.Until.End() != want {
		t.Fatalf("the window ends at %v, want %v", g.Until.End(), want)
	}
}

func TestStateGivesBackAGrantWhoseWindowHasEnded(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	id := ex.Calls[0].Grants[0].ID
	run(ex, at(0), 1)
	late := at(0).Add(d.Window)
	d.Arrive(late, ex)
	d.mustWait(w)
	ex = d.mustDepart(late, Release, Acquire)
	if got := ex.Calls[0].Grants[0].ID; got != id {
		t.Fatalf("released %s, want %s", got, id)
	}
	if got := ex.Calls[1].Grants[0].ID; got == id {
		t.Fatalf("asked again under %s, which was released", id)
	}
}

func TestStateRenewsAGrantThatIsOldBeforeItsHolderGetsIt(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(0), 1)
	slow := at(0).Add(d.Window/3 + time.Second)
	d.Batch.giveUp = slow.Add(1) // a slow reply, not one that was given up
	d.Arrive(slow, ex)
	d.mustWait(w)
	ex = d.mustDepart(slow, Renew)
	run(ex, slow, 0)
	d.Arrive(slow, ex)
	d.mustBeServed(w)
}

func TestStateFreesWhatACancelledWaiterMayStillGet(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	d.Leave(at(1), w, ReasonCancelled)
	run(ex, at(2), 1)
	d.Arrive(at(3), ex)
	ex = d.mustDepart(at(3), Release)
	run(ex, at(3), 0)
	d.Arrive(at(3), ex)
	if !d.Idle() {
		t.Fatal("something is left")
	}
}

func TestStateReleasesAfterARequestCanTakeAPermitNoMore(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	d.Leave(at(1), w, ReasonCancelled)
	d.Tick(ex.giveUp) // no reply
	if d.Next().Mono < ex.lateBy.Mono {
		t.Fatalf("released at %v, while the request may still arrive until %v", d.Next(), ex.lateBy)
	}
	d.mustDepart(ex.lateBy, Release)
}

func TestStateAsksNotAfterTheAttemptIsGivenUp(t *testing.T) {
	d := newStateTest(t, 1)
	d.waiter(at(time.Second))
	known := Reading{Sent: at(0), Received: at(0), Micros: serverAt(at(0))}
	ex := d.Depart(at(time.Second), known)
	giveUp := serverAt(at(time.Second).Add(testTTL / 8))
	if ex.NotAfter < giveUp || ex.NotAfter > giveUp+10_000 {
		t.Fatalf("notAfter = %d, want just after %d", ex.NotAfter, giveUp)
	}
}

func TestStateKeepsARequestsIDWhileItsOutcomeIsUnknown(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	w.answered = true // it rides trouble out
	ex := d.mustDepart(at(0), Acquire)
	id := ex.Calls[0].Grants[0].ID
	fail(ex, errNet)
	d.Arrive(at(1), ex)
	d.mustWait(w)
	ex = d.mustDepart(d.Next(), Acquire)
	if got := ex.Calls[0].Grants[0].ID; got != id {
		t.Fatalf("asked again under %s: the permit of %s would leak", got, id)
	}
}

func TestStateReleasesTwiceWhenAnOldRequestMayStillBeOnItsWay(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	w.answered = true
	lost := d.mustDepart(at(0), Acquire)
	fail(lost, errNet)
	d.Arrive(at(1), lost)
	again := d.mustDepart(d.Next(), Acquire)
	now := again.Sent.Add(time.Millisecond)
	run(again, now, 1)
	d.Arrive(now, again)
	g := d.mustBeServed(w)
	g.unanswered, g.lateBy = 1, now.Add(time.Second) // the first request was never answered
	h := g.Holding
	d.Release(now, h)
	ex := d.mustDepart(now, Release)
	run(ex, now, 0)
	d.Arrive(now, ex)
	if d.Idle() {
		t.Fatal("the first request may still take a permit, and nobody would know")
	}
	d.mustDepart(now.Add(time.Second), Release)
}

func TestStateTellsTheFirstCallersOfTroubleAndLetsTheOthersRideItOut(t *testing.T) {
	d := newStateTest(t, 2)
	old := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(0), 0)
	d.Arrive(at(0), ex)
	fresh := d.waiter(at(1))
	ex = d.mustDepart(at(1), Acquire)
	fail(ex, errNet)
	d.Arrive(at(2), ex)
	d.mustHaveFailed(fresh, Unanswered, errNet)
	d.mustWait(old)
	ex = d.mustDepart(d.Next(), Acquire)
	fail(ex, errWrongType)
	for i := range ex.Calls {
		ex.Calls[i].Failure.Permanent = true
	}
	d.Arrive(ex.Sent, ex)
	d.mustHaveFailed(old, Unanswered, errWrongType)
}

func TestStateGivesUpOnAServerThatSaysNothing(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	now := at(0)
	for range maxSilent {
		d.mustWait(w)
		ex := d.mustDepart(now, Acquire)
		d.Tick(ex.giveUp)
		now = d.Next()
	}
	d.mustHaveFailed(w, Unanswered, ErrNoReply)
}

func TestStatePollsJustAfterTheFirstExpiry(t *testing.T) {
	d := newStateTest(t, 1)
	d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(0), 0)
	soon := serverAt(at(0))/1000 + 100
	ex.Calls[0].Occupancy.First = soon
	d.Arrive(at(0), ex)
	if want := at(101 * time.Millisecond); d.Next() != want {
		t.Fatalf("next poll at %v, want %v", d.Next(), want)
	}
}

func TestStatePollsForAllWaitersInOneCall(t *testing.T) {
	d := newStateTest(t, 3)
	for range 10 {
		d.waiter(at(0))
	}
	ex := d.mustDepart(at(0), Acquire)
	if n := len(ex.Calls[0].Grants); n != 4 {
		t.Fatalf("asked for %d, want as many as could be served and one more", n)
	}
	run(ex, at(0), 0)
	d.Arrive(at(0), ex)
	d.mustNotDepart(at(d.Config.RetryInterval / 2))
	d.mustDepart(at(d.Config.RetryInterval), Acquire)
}

func TestStateForgetsNoCallerThatCameDuringAnExchange(t *testing.T) {
	d := newStateTest(t, 5)
	d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	w := d.waiter(at(1))
	run(ex, at(1), 0)
	d.Arrive(at(2), ex)
	ex = d.mustDepart(at(2), Acquire)
	run(ex, at(2), 2)
	d.Arrive(at(2), ex)
	d.mustBeServed(w)
}

func TestStateAsksForTheNextWaiterWithTheRelease(t *testing.T) {
	d := newStateTest(t, 1)
	d.Config.Handover = -1
	g := d.acquired(at(0))
	w := d.waiter(at(1))
	ex := d.mustDepart(at(1), Acquire)
	run(ex, at(1), 0)
	d.Arrive(at(1), ex)
	d.Release(at(2), g.Holding)
	ex = d.mustDepart(at(2), Release, Acquire)
	run(ex, at(2), 1)
	d.Arrive(at(2), ex)
	d.mustBeServed(w)
}

func TestStateEndsAHoldAtMaxHoldAndStopsRenewing(t *testing.T) {
	d := newStateTest(t, 1)
	w := &Waiter{Weight: 1, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}, MaxHold: time.Second}}
	d.Ask(at(0), w)
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(0), 1)
	d.Arrive(at(0), ex)
	h := d.mustBeServed(w).Holding
	if d.Next() != at(time.Second) {
		t.Fatalf("next call at %v", d.Next())
	}
	d.Tick(at(time.Second))
	if ends := d.takeEnds(); len(ends) != 1 || h.Ending.Kind != HeldTooLong {
		t.Fatalf("ended: %v", ends)
	}
	d.mustNotDepart(at(5 * time.Second)) // neither renewed nor given back: its holder is stuck
	h.Confirmed = make(chan struct{})
	d.Release(at(6*time.Second), h)
	ex = d.mustDepart(at(6*time.Second), Release)
	run(ex, at(6*time.Second), 0)
	d.Arrive(at(6*time.Second), ex)
	<-h.Confirmed
}

func TestStateWaitsForAReleaseNoLongerThanTheWindow(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	h := g.Holding
	h.Confirmed = make(chan struct{})
	d.Release(at(1), h)
	d.mustDepart(at(1), Release)
	d.Tick(g.Until.End().Add(-1))
	select {
	case <-h.Confirmed:
		t.Fatal("given up too early")
	default:
	}
	d.Tick(g.Until.End())
	<-h.Confirmed
	if h.Result == nil || h.Result.Kind != Unanswered {
		t.Fatalf("result: %+v", h.Result)
	}
}

func TestStateShrinksWindowsByAJumpOfTheServersClockAndRenewsAtOnce(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	end := g.Until.End()
	d.Shorten(at(1), 2*time.Second)
	if g.Until.End() != end.Add(-2*time.Second) {
		t.Fatalf("the window ends at %v", g.Until.End())
	}
	d.mustDepart(at(1), Renew)
}

func TestStateSplitsLongLists(t *testing.T) {
	d := newStateTest(t, 1200)
	for range 1200 {
		d.waiter(at(0))
	}
	ex := d.mustDepart(at(0), Acquire, Acquire, Acquire)
	if n := len(ex.Calls[2].Grants); n != 200 {
		t.Fatalf("%d ids in the last call, want 200", n)
	}
	run(ex, at(0), maxIDs)
	d.Arrive(at(0), ex)
	d.mustDepart(at(0).Add(d.Window/3), Renew, Renew, Renew)
}

func TestStateDropsDebtsThatTimeHasPaid(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	d.Leave(at(1), w, ReasonCancelled)
	fail(ex, errNet)
	d.Arrive(at(2), ex)
	for now := d.Next(); !d.Idle(); now = d.Next() {
		if now.Reached(at(3 * testTTL)) {
			t.Fatal("an outage is paid for for ever")
		}
		d.Tick(now)
		if ex := d.Depart(now, Reading{}); ex != nil {
			fail(ex, errNet)
			d.Arrive(now, ex)
		}
	}
}

func TestStateAsksUnderAFreshIDWhenAServedWaiterAsksAgain(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(0), 1)
	d.Arrive(at(0), ex)
	g := d.mustBeServed(w)
	end := g.Until.End() // the process slept past the window before it took the lease
	d.Tick(end)
	d.takeEnds()
	d.Release(end, w.Holding)
	ex = d.mustDepart(end, Release)
	run(ex, end, 0)
	d.Arrive(end, ex)
	w.Done, w.Holding = make(chan struct{}), &Holding{Holder: reachable{}}
	d.Ask(end, w)
	ex = d.mustDepart(end, Acquire)
	if ex.Calls[0].Grants[0] == g {
		t.Error("asks under an id that was released")
	}
	run(ex, end, 1)
	d.Arrive(end, ex)
	d.mustBeServed(w)
}

func TestStateAsksForOneAttemptBehindAllWaiters(t *testing.T) {
	d := newStateTest(t, 1)
	d.waiter(at(0))
	once := &Waiter{Weight: 1, Once: true, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	d.Ask(at(0), once)
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(0), 0)
	d.Arrive(at(0), ex)
	d.mustHaveFailed(once, NoRoom, nil)
}

func TestStateReleasesWhatALateReplyLeavesInDoubt(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	ex.Calls[0].Server, ex.Calls[0].Late, ex.Calls[0].Answers, ex.Calls[0].Occupancy = serverAt(at(0)), true, nil, nil // the client sent it twice: the first may have been granted
	d.Arrive(at(1), ex)
	d.Leave(at(2), w, ReasonCancelled)
	d.mustDepart(ex.lateBy, Release)
}

func TestStateSpendsNothingOnEventsThatNobodyListensTo(t *testing.T) {
	d := newStateTest(t, 1)
	h := d.acquired(at(0)).Holding
	if n := testing.AllocsPerRun(100, func() { d.happened(at(1), h, Event{Kind: EventReleased, Err: errNet}) }); n != 0 || d.effects != nil {
		t.Errorf("%v allocations, %v", n, d.effects)
	}
}

func BenchmarkEventsUnused(b *testing.B) {
	d := New(&Config{}, 1, nil, nil)
	h := &Holding{Grant: &Grant{}}
	b.ReportAllocs()
	for b.Loop() {
		d.happened(at(1), h, Event{Kind: EventReleased})
	}
}

func TestStateAsksAgainForAWaiterWhoseRequestCameLate(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	ex.Calls[0].Server, ex.Calls[0].Late, ex.Calls[0].Answers, ex.Calls[0].Occupancy = serverAt(at(0)), true, nil, nil // it asked for nothing, and stands in no queue
	d.Arrive(at(1), ex)
	ex = d.mustDepart(d.Next(), Acquire)
	run(ex, ex.Sent, 1)
	d.Arrive(ex.Sent, ex)
	d.mustBeServed(w)
}

// After a step back of the server's clock a window can be longer than two TTLs.
func TestStateAnswersAReleaseBeforeItForgetsIt(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	g.Until.set(at(10 * testTTL))
	h := g.Holding
	h.Confirmed = make(chan struct{})
	d.Release(at(1), h)
	for now := at(1); !d.Idle(); now = d.Next() {
		d.Tick(now)
		if ex := d.Depart(now, Reading{}); ex != nil {
			fail(ex, errNet)
			d.Arrive(now, ex)
		}
	}
	<-h.Confirmed
}

// The first call of a process makes a connection, and the next one is quicker: it must not put its callers
// in front of the first call's. The server counts a place from when it carries the call out.
func TestStateKeepsTheOrderOfItsCallersWhenTheirFirstCallIsSlow(t *testing.T) {
	d := newStateTest(t, 3)
	ms := func(n int) Instant { return at(time.Duration(n) * time.Millisecond) }
	first := d.waiter(ms(0))
	slow := d.mustDepart(ms(0), Acquire)
	d.waiter(ms(5))
	d.waiter(ms(6))
	run(slow, ms(20), 0)
	d.Arrive(ms(20), slow)
	quick := d.mustDepart(ms(20), Acquire)
	run(quick, ms(20), 0)
	d.Arrive(ms(20), quick)
	d.Leave(ms(21), first, ReasonCancelled) // the third moves up
	last := d.mustDepart(ms(21), Release, Acquire)
	places := append(placesOf(&slow.Calls[0], serverAt(ms(20))), placesOf(&quick.Calls[0], serverAt(ms(20)))...)
	places = append(places, placesOf(&last.Calls[1], serverAt(ms(21)))[1])
	if len(places) != 3 || !slices.IsSorted(places) || places[0] == places[1] || places[1] == places[2] {
		t.Errorf("places in the queue are %v, want them in the order of arrival", places)
	}
}

// The same when the answer of the slow call is lost: it may have been carried out late, before the next call.
func TestStateKeepsTheOrderOfItsCallersWhenTheirFirstCallIsNotAnswered(t *testing.T) {
	d := newStateTest(t, 3)
	d.waiter(at(0))
	slow := d.mustDepart(at(0), Acquire)
	d.waiter(at(10 * time.Millisecond))
	ran := serverAt(at(1400 * time.Millisecond))
	second := at(d.Config.Attempt())
	d.Tick(second) // given up
	d.pollAt = second
	quick := d.mustDepart(second, Acquire)
	run(quick, second, 0)
	d.Arrive(second, quick)
	d.waiter(second)
	d.Seen.Capacity = 3
	d.join(second)
	third := d.mustDepart(second, Acquire)
	places := append(placesOf(&slow.Calls[0], ran), placesOf(&quick.Calls[0], serverAt(second))[1])
	places = append(places, placesOf(&third.Calls[0], serverAt(second))[0])
	if len(places) != 3 || !slices.IsSorted(places) || places[0] == places[1] || places[1] == places[2] {
		t.Errorf("places in the queue are %v, want them in the order of arrival", places)
	}
}

// What keeps that order must not add up: who comes with many others is not behind by a round trip for each.
func TestStateLosesNoPlaceToABurst(t *testing.T) {
	d := newStateTest(t, 1)
	const trip = 50 * time.Millisecond
	var all []*Waiter
	for range 60 {
		all = append(all, d.waiter(at(0)))
	}
	now := at(0)
	for _, w := range all {
		if ex := d.Depart(now, Reading{}); ex != nil {
			now = now.Add(trip)
			c := &ex.Calls[len(ex.Calls)-1]
			for i, place := range placesOf(c, serverAt(now)) {
				late := time.Duration(place-serverAt(c.Grants[i].waiter.since)) * time.Microsecond
				if late > trip+time.Millisecond {
					t.Fatalf("a caller's place is %v after its arrival, want one trip", late)
				}
			}
			run(ex, now, 0)
			d.Arrive(now, ex)
		}
		d.Leave(now, w, ReasonCancelled)
	}
}

// While permits pass from caller to caller inside a process, places in the shared queue are not worth a call;
// but a long Handover must not keep a caller out of the queue for long.
func TestStateJoinsTheQueueWithinARetryInterval(t *testing.T) {
	d := newStateTest(t, 1)
	long := *d.Config
	long.Handover = time.Minute
	d.Config = &long
	d.acquired(at(0))
	d.Seen.busy = true
	d.waiter(at(0))
	if d.mustNotDepart(at(0)); d.joinAt.IsZero() || at(0).Until(d.joinAt) > long.RetryInterval {
		t.Errorf("the second caller joins the queue in %v, want at most %v", at(0).Until(d.joinAt), long.RetryInterval)
	}
}
