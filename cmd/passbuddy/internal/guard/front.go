package guard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Exit codes that are not the command's.
const (
	ExitUsage         = 64
	ExitUnreachable   = 69
	ExitInternal      = 70
	ExitReport        = 73
	ExitNoPermit      = 75
	ExitRefused       = 77
	ExitLost          = 79
	ExitMaxHold       = 124
	ExitNotExecutable = 126
	ExitNotFound      = 127
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

// A Report says how it went.
type Report struct {
	Schema         int      `json:"schema"`
	Outcome        string   `json:"outcome"` // completed, no_permit, lost, max_hold, interrupted, not_started, refused, unreachable, usage, internal
	ExitCode       int      `json:"exit_code"`
	Signal         string   `json:"signal,omitempty"`
	Name           string   `json:"name"`
	ID             string   `json:"id,omitempty"`
	Token          int64    `json:"token,omitempty"`
	Slots          []int    `json:"slots,omitempty"`
	Waited         float64  `json:"waited_s"`
	Held           float64  `json:"held_s"`
	Renewals       int      `json:"renewals"`
	RenewalsFailed int      `json:"renewals_failed"`
	MinSlack       *float64 `json:"min_slack_s,omitempty"`
	Loss           *Loss    `json:"loss,omitempty"`
	Error          string   `json:"error,omitempty"`
}

// killBefore is how long before the end of the trust window KILL is sent.
func killBefore(ttl time.Duration) time.Duration { return max(50*time.Millisecond, ttl/40) }

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

// startKeeper starts the keeper with one descriptor: its end of a socket.
func (f *front) startKeeper() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	environ := without(os.Environ(), heldVariable) // it is none of the processes that end with the lease
	var pid int
	err = withoutDescriptors(func() (err error) {
		pid, err = syscall.ForkExec(self, append([]string{self}, f.Keeper...), &syscall.ProcAttr{
			Env: environ, Dir: "/", Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), uintptr(pair[1])}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		return err
	})
	_ = unix.Close(pair[1])
	if err != nil {
		_ = unix.Close(pair[0])
		return err
	}
	f.keeperPID = pid
	if f.keeper, err = newLine(os.NewFile(uintptr(pair[0]), "keeper")); err != nil {
		return err
	}
	f.Settings.Front = os.Getpid()
	f.keeper.send(f.Settings)
	return nil
}

// withoutDescriptors calls start, whose child inherits none of the descriptors that this process has inherited.
func withoutDescriptors(start func() error) error {
	var inherited []int
	entries, _ := os.ReadDir("/dev/fd")
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			inherited = append(inherited, fd)
			unix.CloseOnExec(fd)
		}
	}
	defer func() {
		for _, fd := range inherited {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
	}()
	return start()
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

// start starts the command.
func (f *front) start(path string, signals chan<- os.Signal) error {
	f.command = command{front: os.Getpid(), keeper: f.keeperPID, mark: mark(f.Name, f.granted.ID)}
	f.terminal = ownTerminal()
	shared := f.Shared || f.terminal == nil && hasTerminal()
	if shared {
		f.terminal = nil
	}
	attr := &syscall.SysProcAttr{Setpgid: !shared}
	endsWithParent(attr)
	pid, err := syscall.ForkExec(path, f.Command, &syscall.ProcAttr{Env: f.environ(), Files: []uintptr{0, 1, 2}, Sys: attr})
	if err != nil {
		return err
	}
	if f.command.pid = pid; !shared {
		f.command.group = pid
		if f.terminal != nil {
			signal.Notify(signals, syscall.SIGTSTP)
			f.terminal.give(pid)
			f.command.signal(syscall.SIGCONT) // it may have been stopped for using the terminal
		}
	}
	f.keeper.send(order{Kind: orderStart, PID: pid, Group: f.command.group})
	return nil
}

// environ is the command's environment.
func (f *front) environ() []string {
	held := os.Getenv(heldVariable)
	if held != "" {
		held += ","
	}
	slots := make([]string, len(f.granted.Slots))
	for i, n := range f.granted.Slots {
		slots[i] = strconv.Itoa(n)
	}
	env := without(os.Environ(), "PASSBUDDY_URL", heldVariable, "PASSBUDDY_SLOT", "PASSBUDDY_SLOTS")
	env = append(env,
		"PASSBUDDY_NAME="+f.Name,
		"PASSBUDDY_ID="+f.granted.ID,
		"PASSBUDDY_TOKEN="+strconv.FormatInt(f.granted.Token, 10),
		"PASSBUDDY_LABEL="+f.Label,
		"PASSBUDDY_OWNER="+f.granted.Owner,
		"PASSBUDDY_WEIGHT="+strconv.Itoa(f.granted.Weight),
		"PASSBUDDY_TTL_MS="+strconv.FormatInt(f.granted.TTL.Milliseconds(), 10),
		heldVariable+"="+held+f.command.mark,
	)
	if len(slots) > 0 {
		env = append(env, "PASSBUDDY_SLOT="+slots[0], "PASSBUDDY_SLOTS="+strings.Join(slots, ","))
	}
	return env
}

func without(environ []string, names ...string) []string {
	kept := make([]string, 0, len(environ))
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		drop := false
		for _, n := range names {
			drop = drop || n == name
		}
		if !drop {
			kept = append(kept, v)
		}
	}
	return kept
}

// guard returns when the command's last process is gone, or KILL has not ended it.
func (f *front) guard(signals <-chan os.Signal, notices <-chan notice, bell *alarm) {
	var leftBehind, look <-chan time.Time
	for {
		f.reap()
		if f.exited {
			left := f.command.processes(true)
			if len(left) == 0 {
				return
			}
			if look == nil {
				ticker := time.NewTicker(50 * time.Millisecond) // no signal tells of the end of a process that is nobody's child
				defer ticker.Stop()
				look, leftBehind = ticker.C, time.After(5*time.Second)
				if f.Leftover == "kill" && f.stopping == 0 {
					f.stop(syscall.SIGTERM)
				}
			}
		}
		switch {
		case f.stopping != 0:
			bell.set(f.stopping)
		case f.asked != 0:
			bell.set(f.asked)
		default:
			bell.set(f.until.add(-f.grace()))
		}
		select {
		case s := <-signals:
			f.signaled(s.(syscall.Signal))
		case n, open := <-notices:
			if open {
				f.noticed(n)
				continue
			}
			notices = nil
			f.lose(&Loss{Reason: LossKeeper, Err: "the keeper has died: the lease is no longer renewed"})
		case <-bell.C:
			if f.rung() {
				return
			}
		case <-look:
		case <-leftBehind:
			f.Say("%s has ended; the permit waits for %s (--leftover kill ends what is left)", f.Command[0], names(f.command.processes(true)))
		}
	}
}

// grace is the time that the command has between TERM and the end of the trust window.
func (f *front) grace() time.Duration {
	if f.Grace > 0 {
		return f.Grace
	}
	return f.granted.TTL / 5
}

// rung acts on the time that has come: it stops the command in good time before the trust window ends, and then kills it.
// It reports whether that was tried in vain.
func (f *front) rung() (inVain bool) {
	switch {
	case f.stopping == 0 && f.asked == 0 && now() >= f.until.add(-f.grace()):
		// This process may have been stopped, and what the keeper has said meanwhile is still to be read.
		f.asked = now().add(min(killBefore(f.granted.TTL)/2, time.Second))
		f.keeper.send(order{Kind: orderTell})
	case f.stopping == 0 && f.asked != 0 && now() >= f.asked:
		f.lose(&Loss{Reason: "expired", Err: f.trouble})
	case f.stopping != 0 && now() >= f.stopping:
		f.left = f.command.kill(2*time.Second, f.reap)
		f.terminal.restore()
		return len(f.left) > 0
	}
	return false
}

// lose stops the command because the lease has ended, or is about to.
func (f *front) lose(loss *Loss) {
	if loss.TrustedUntil.IsZero() {
		loss.TrustedUntil = time.Now().Add(now().until(f.until))
	}
	if f.lost != nil {
		return
	}
	f.lost = loss
	if f.OnLost == 0 {
		f.OnLost = syscall.SIGTERM
	}
	f.stop(f.OnLost)
}

// stop asks the command to end, and has it killed when it does not in time.
func (f *front) stop(s syscall.Signal) {
	f.stopping = min(now().add(f.grace()), f.until.add(-killBefore(f.granted.TTL)))
	f.command.signal(s)
	f.command.signal(syscall.SIGCONT) // one that is stopped would not see it
	if f.command.group == 0 || f.exited {
		for _, p := range f.command.processes(true) {
			_ = syscall.Kill(p.pid, s)
		}
	}
}

func (f *front) noticed(n notice) {
	if n.Until != nil && f.stopping == 0 {
		f.until = *n.Until
	}
	switch {
	case n.Kind == noticeTold:
		if f.asked = 0; f.stopping == 0 && now() >= f.until.add(-f.grace()) {
			f.lose(&Loss{Reason: "expired", Err: f.trouble})
		}
	case n.Kind == noticeRenewal && n.Renewal.Err != "":
		f.report.RenewalsFailed++
		f.trouble = n.Renewal.Err
	case n.Kind == noticeRenewal:
		f.report.Renewals++
		if slack := n.Renewal.Slack.Seconds(); f.report.MinSlack == nil || slack < *f.report.MinSlack {
			f.report.MinSlack = &slack
		}
	case n.Kind == noticeLost, n.Kind == noticeKilled:
		f.lose(n.Loss)
	case n.Kind == noticeQueue && f.Verbose:
		f.Say("%s", n.Line)
	}
}

// signaled passes a signal on.
func (f *front) signaled(s syscall.Signal) {
	switch s {
	case syscall.SIGCHLD: // reap comes next
	case syscall.SIGCONT:
		f.goOn()
	case syscall.SIGINT, syscall.SIGQUIT:
		if f.ints++; s == syscall.SIGINT && f.ints > 1 {
			_ = f.command.kill(2*time.Second, f.reap) // the permit waits for what is left
			return
		}
		if f.command.group == 0 && hasTerminal() {
			return // the terminal has sent it to the whole group
		}
		f.command.signal(s)
	default:
		f.command.signal(s)
	}
}

// reap takes the children that have ended, and follows the command when it is stopped.
func (f *front) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG|syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || pid <= 0:
			return
		case pid != f.command.pid:
		case status.Stopped():
			switch s := status.StopSignal(); {
			case f.terminal == nil || f.stopping != 0:
			case (s == syscall.SIGTTIN || s == syscall.SIGTTOU) && f.terminal.isOurs():
				f.goOn() // a shell brings a job that runs into the foreground without a signal
			default:
				f.suspend()
			}
		default:
			f.exited, f.status = true, status
		}
	}
}

// suspend stops this process too: so the shell sees that the job has stopped. The keeper goes on. CONT comes as every signal
// does, and not here: another thread may take the STOP, and this one run on for a moment.
func (f *front) suspend() {
	f.terminal.takeBack()
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
}

// goOn continues the command, in the foreground if this process is there.
func (f *front) goOn() {
	if f.exited {
		return
	}
	if f.terminal.isOurs() {
		f.terminal.give(f.command.group)
	}
	f.command.signal(syscall.SIGCONT)
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

// outcome is the exit code when the command has run.
func (f *front) outcome() int {
	code := f.status.ExitStatus()
	if f.status.Signaled() {
		code = 128 + int(f.status.Signal())
		f.report.Signal = unix.SignalName(f.status.Signal())
	}
	if f.lost == nil {
		f.report.Outcome = "completed"
		return code
	}
	f.lost.LastGone = time.Now()
	f.report.Loss = f.lost
	if f.lost.Reason == LossMaxHold {
		return f.end(ExitMaxHold, "max_hold", fmt.Sprintf("%s: held for --max-hold %v: %s was stopped", f.Name, f.MaxHold, f.Command[0]))
	}
	why := f.lost.Err
	if why == "" {
		why = f.lost.Reason
	}
	return f.end(ExitLost, "lost", fmt.Sprintf("%s: the lease was lost, and %s was stopped: %s", f.Name, f.Command[0], why))
}

func names(list []process) string {
	var b strings.Builder
	for i, p := range list {
		if i == 5 {
			fmt.Fprintf(&b, " and %d more", len(list)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d (%s)", p.pid, p.name)
	}
	return b.String()
}

// lookUp finds the command as a shell does.
func lookUp(name string) (path string, code int, err error) {
	path, err = exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		if path, err = filepath.Abs(path); err != nil {
			return "", ExitNotExecutable, err
		}
		return path, 0, nil
	case errors.Is(err, os.ErrPermission):
		return "", ExitNotExecutable, fmt.Errorf("%s: it may not be executed", name)
	default:
		return "", ExitNotFound, fmt.Errorf("%s: there is no such command", name)
	}
}

// forwarded are the signals that the command gets from the front.
var forwarded = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT,
}
