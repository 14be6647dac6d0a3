package guard

import (
	"fmt"
	"strings"
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
