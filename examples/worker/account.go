package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// An account tells what happens, a line each, and keeps the score. Safe for concurrent use.
type account struct {
	out   io.Writer
	start time.Time

	mu       sync.Mutex
	live     int // leases that have not ended
	mostLive int
	tokens   map[int64]bool
	count    map[outcome]int
	resumed  bool // the network is back
	again    int  // leases since then
	shared   bool // with other programs
	mostHeld int  // in Redis, by all programs together
	margins  []time.Duration
	problems []error
}

type outcome string

const (
	finished outcome = "done, gives the permit back"
	stopped  outcome = "clean, gives the permit back"
	lost     outcome = "LOST"
)

func newAccount(out io.Writer) *account {
	return &account{out: out, start: time.Now(), tokens: map[int64]bool{}, count: map[outcome]int{}}
}

// opening says what there is to see, and the columns.
func (a *account) opening(server, owner string) {
	fmt.Fprintf(a.out, "%d workers compete for %d permits of %q, on %s.\n", workers, config.Capacity, config.Name, server)
	fmt.Fprintf(a.out, "A permit lives for %v in Redis unless it is renewed. This program is %s;\n", config.TTL, owner)
	fmt.Fprintf(a.out, "other programs on the same Redis share the permits.\n")
	fmt.Fprintf(a.out, "Time is in seconds since the start; a lease ends at \"until\" unless it is renewed.\n\n")
	a.row("time", "who", "what", "until", "token")
}

func (a *account) row(when, who, what, until, token string) {
	line := fmt.Sprintf("%5s  %-8s  %-30s  %5s  %s", when, who, what, until, token)
	fmt.Fprintln(a.out, strings.TrimRight(line, " "))
}

func (a *account) seconds(t time.Time) string { return fmt.Sprintf("%.2f", t.Sub(a.start).Seconds()) }

func (a *account) lineLocked(who, what string, l *lease.Lease) {
	until, token := "", ""
	if l != nil {
		until, token = a.seconds(l.TrustedUntil()), strconv.FormatInt(l.Token(), 10)
	}
	a.row(a.seconds(time.Now()), who, what, until, token)
}

func (a *account) line(who, format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lineLocked(who, fmt.Sprintf(format, args...), nil)
}

func (a *account) got(name string, l *lease.Lease) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live++
	a.mostLive = max(a.mostLive, a.live)
	if a.live > config.Capacity {
		a.problemLocked("%d leases were live at a time", a.live)
	}
	if a.tokens[l.Token()] {
		a.problemLocked("token %d was given twice", l.Token())
	}
	a.tokens[l.Token()] = true
	if a.resumed {
		a.again++
	}
	a.lineLocked(name, "got a permit", l)
}

func (a *account) renewed(name string, l *lease.Lease) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.row(a.seconds(time.Now()), name, "  renewed", a.seconds(l.TrustedUntil()), "")
}

// left is called before the permit goes back: from then on another may have it.
func (a *account) left(name string, how outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live--
	a.count[how]++
	a.lineLocked(name, string(how), nil)
}

// leftLost is left for a lease that was lost, margin before Redis would have given its permit away.
func (a *account) leftLost(name string, reason error, margin time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live--
	a.count[lost]++
	a.margins = append(a.margins, margin)
	a.lineLocked(name, fmt.Sprintf("%s: %s,", lost, reasonOf(reason)), nil)
	a.lineLocked("", fmt.Sprintf("  %d ms before Redis gives the permit away", margin.Milliseconds()), nil)
	if margin <= 0 {
		a.problemLocked("%s was told %v too late", name, -margin)
	}
}

// reasonOf is short for the columns' sake: the error itself also names the permit and what the client
// said last.
func reasonOf(err error) string {
	var lost *lease.LostError
	if errors.As(err, &lost) {
		return lost.Reason.String()
	}
	return err.Error()
}

func (a *account) stalls() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lineLocked("network", "STALLS: nothing reaches Redis or comes back", nil)
}

func (a *account) heals() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resumed = true
	a.lineLocked("network", "is back", nil)
}

// members takes down how many permits of all programs Redis counted at one moment.
func (a *account) members(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mostHeld = max(a.mostHeld, n)
	if n > config.Capacity {
		a.problemLocked("Redis counted %d permits", n)
	}
}

// shares takes down that another program was seen with a permit.
func (a *account) shares(owner string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.shared = true
	a.lineLocked("", owner+" has a permit too: it is shared", nil)
}

func (a *account) problem(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.problemLocked(format, args...)
}

func (a *account) problemLocked(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	a.problems = append(a.problems, err)
	a.lineLocked("PROBLEM", err.Error(), nil)
}

// closing adds up, and returns what went wrong.
func (a *account) closing() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.live != 0:
		a.problemLocked("%d leases never ended", a.live)
	case a.again == 0 && !a.shared:
		a.problemLocked("no work after the stall")
	case len(a.margins) == 0 && !a.shared:
		a.problemLocked("no lease was lost in the stall")
	}
	fmt.Fprintf(a.out, "\n%d leases, each with a token of its own: %d finished, %d lost in the stall, %d stopped at the end.\n",
		len(a.tokens), a.count[finished], a.count[lost], a.count[stopped])
	fmt.Fprintf(a.out, "Never more than %d live at a time here, and never more than %d permits in Redis.\n", a.mostLive, a.mostHeld)
	if len(a.margins) > 0 {
		fmt.Fprintf(a.out, "Who lost a lease knew at least %d ms before Redis gave the permit away (margin: %d ms).\n",
			slices.Min(a.margins).Milliseconds(), config.Margin.Milliseconds())
	}
	return errors.Join(a.problems...)
}
