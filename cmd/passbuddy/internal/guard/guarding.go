package guard

import (
	"os"
	"syscall"
	"time"
)

// killBefore is how long before the end of the trust window KILL is sent.
func killBefore(ttl time.Duration) time.Duration { return max(50*time.Millisecond, ttl/40) }

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
