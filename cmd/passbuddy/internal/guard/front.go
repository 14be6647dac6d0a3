// Package guard runs a command under a lease, so that the command is gone before its permit is. Two processes do it, each of
// which acts when the other cannot: the front, which is the command's parent and has the terminal, and the keeper, which
// holds the lease. Start with Run and Keep.
package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options are what the front goes by, besides the Settings that it passes on to the keeper.
type Options struct {
	Settings
	Command  []string
	Grace    time.Duration // between TERM and the end of the trust window; 0: a fifth of the TTL
	OnLost   syscall.Signal
	Leftover string        // wait or kill
	MinHold  time.Duration // the permit stays for as long after its grant
	Shared   bool          // the command stays in this process's group
	NoPermit int           // the exit code where no permit came in time
	Report   io.Writer     // nil: there is none
	Say      func(format string, args ...any)
	Progress func(text string) // one line that replaces the one before; empty: none
	Verbose  bool
	Keeper   []string // the command line of the keeper, which gets its socket as descriptor 3
}

// A front is what the user has started: the command's parent, which has the terminal and gets the signals.
type front struct {
	Options
	keeper    *line
	keeperPID int
	began     time.Time
	report    Report

	granted  *granted
	grantAt  time.Time
	until    boottime
	terminal *terminal // nil: the command is no foreground job
	command  command
	exited   bool // the command's first process has ended
	status   syscall.WaitStatus
	asked    boottime // the keeper is asked whether the lease has been renewed: when that must be answered; 0: it is not
	stopping boottime // when KILL is sent; 0: nothing is wrong
	lost     *Loss
	trouble  string    // why the latest renewal failed
	ints     int       // how often INT came
	left     []process // that KILL could not end
}

// Run waits for the permit, runs the command under it, and returns the exit code. It is the main function of the process:
// it takes all signals, and all children that end.
func Run(o Options) int {
	// The kernel kills the command when the thread that started it ends.
	runtime.LockOSThread()
	f := &front{Options: o, began: time.Now(), report: Report{Schema: 1, Name: o.Name}}
	code := f.run()
	f.report.ExitCode = code
	if o.Report != nil {
		if err := json.NewEncoder(o.Report).Encode(f.report); err != nil {
			o.Say("the report: %v", err)
		}
	}
	return code
}

func (f *front) run() int {
	path, code, err := lookUp(f.Command[0])
	if err != nil {
		return f.end(code, "not_started", err.Error())
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, forwarded...)
	signal.Notify(signals, syscall.SIGCHLD)
	if err := adoptOrphans(); err != nil {
		return f.end(ExitInternal, "internal", err.Error())
	}
	if err := f.startKeeper(); err != nil {
		return f.end(ExitInternal, "internal", "starting the keeper: "+err.Error())
	}
	notices := make(chan notice)
	go func() {
		defer close(notices)
		for {
			var n notice
			if err := f.keeper.receive(&n); err != nil {
				return
			}
			notices <- n
		}
	}()
	bell, err := newAlarm()
	if err != nil {
		return f.end(ExitInternal, "internal", err.Error())
	}
	defer bell.stop()

	if code, done := f.wait(signals, notices); done {
		return code
	}
	f.grantAt = time.Now()
	if err := f.start(path, signals); err != nil {
		code := ExitNotExecutable
		if errors.Is(err, os.ErrNotExist) {
			code = ExitNotFound
		}
		f.release(notices)
		return f.end(code, "not_started", fmt.Sprintf("%s: %v", f.Command[0], err))
	}
	f.guard(signals, notices, bell)
	f.terminal.takeBack()
	f.minHold(signals, notices)
	f.report.Held = time.Since(f.grantAt).Seconds()
	if len(f.left) > 0 {
		return f.end(ExitLost, "lost", fmt.Sprintf("KILL has not ended %s: the permit is not released, time takes it", names(f.left)))
	}
	f.release(notices)
	return f.outcome()
}

// end is the exit where the command has not run, or nobody knows how it ended.
func (f *front) end(code int, outcome, text string) int {
	f.report.Outcome, f.report.Error = outcome, text
	if text != "" {
		f.Say("%s", text)
	}
	return code
}

// wait returns when the keeper has the permit. Otherwise it returns the exit code.
func (f *front) wait(signals <-chan os.Signal, notices <-chan notice) (code int, done bool) {
	defer f.Progress("")
	for {
		select {
		case s := <-signals:
			f.reap()
			if n, ends := s.(syscall.Signal), s != syscall.SIGCHLD && s != syscall.SIGCONT && s != syscall.SIGWINCH; ends {
				f.report.Waited, f.report.Signal = time.Since(f.began).Seconds(), unix.SignalName(n)
				return f.end(128+int(n), "interrupted", ""), true // the keeper leaves the queue when this end of the socket closes
			}
		case n, open := <-notices:
			switch {
			case !open:
				return f.end(ExitInternal, "internal", "the keeper has died"), true
			case n.Kind == noticeFailed:
				f.report.Waited = time.Since(f.began).Seconds()
				code := n.Failure.Exit
				if code == ExitNoPermit && f.NoPermit != 0 {
					code = f.NoPermit
				}
				return f.end(code, n.Failure.Outcome, n.Failure.Text), true
			case n.Kind == noticeQueue && n.Queue != nil:
				f.Progress(n.Queue.text(f.Name))
			case n.Kind == noticeQueue && f.Verbose:
				f.Say("%s", n.Line)
			case n.Kind == noticeGranted:
				f.granted, f.until = n.Granted, *n.Until
				f.report.ID, f.report.Token, f.report.Slots, f.report.Waited = n.Granted.ID, n.Granted.Token, n.Granted.Slots, n.Granted.Waited.Seconds()
				return 0, false
			}
		}
	}
}

func (q *queue) text(name string) string {
	var b strings.Builder
	b.WriteString(name + ": ")
	if q.Place > 0 {
		fmt.Fprintf(&b, "place %d of %d, ", q.Place, q.Waiting)
	}
	fmt.Fprintf(&b, "%d of %d held", q.Held, q.Capacity)
	if q.Longest != "" {
		fmt.Fprintf(&b, ", longest %s for %v", q.Longest, q.LongestFor.Round(time.Second))
	}
	return b.String()
}

// minHold waits until the permit has been held for that long.
func (f *front) minHold(signals <-chan os.Signal, notices <-chan notice) {
	left := f.MinHold - time.Since(f.grantAt)
	if left <= 0 || f.lost != nil {
		return
	}
	over := time.NewTimer(left)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			return
		case s := <-signals:
			if s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGHUP {
				return
			}
		case n, open := <-notices:
			if !open || n.Kind == noticeLost {
				return // there is nothing to hold any more
			}
			f.noticed(n)
		}
	}
}

// release has the keeper give the permit back, and waits until Redis has answered.
func (f *front) release(notices <-chan notice) {
	f.keeper.send(order{Kind: orderRelease})
	late := time.NewTimer(3 * time.Second)
	defer late.Stop()
	for {
		select {
		case n, open := <-notices:
			if !open {
				return
			}
			if n.Kind == noticeKilled && f.lost == nil {
				f.lost = n.Loss
			}
			if n.Kind == noticeReleased {
				if n.Line != "" {
					f.Say("%s", n.Line)
				}
				return
			}
		case <-late.C:
			return
		}
	}
}
