package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/doctor"
	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/guard"
)

func (p *program) doctor() *cobra.Command {
	plan := doctor.Plan{}
	var strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say whether this Redis is fit for leases",
		Long: "doctor looks at the server, its settings, its clock, how fast it answers, and the semaphores on it. For each finding that\n" +
			"is not ok it says why it matters, and what to do. It exits with 1 when a check fails (with --strict: or warns).\n\nChecks:\n  " +
			strings.Join(doctor.IDs(), "\n  "),
		Example: "  passbuddy doctor\n  passbuddy doctor --ttl 5s --strict\n  passbuddy doctor --name gpu --only 40",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&plan.Name, "name", "", "look at this semaphore alone")
	cmd.Flags().DurationVar(&plan.TTL, "ttl", guard.DefaultTTL, "the TTL of the leases that are planned")
	cmd.Flags().DurationVar(&plan.Duration, "duration", 2*time.Second, "for how long to watch the round trip and the clock")
	cmd.Flags().StringSliceVar(&plan.Only, "only", nil, "the ids of the checks to carry out")
	cmd.Flags().StringSliceVar(&plan.Skip, "skip", nil, "the ids of the checks to leave out")
	cmd.Flags().BoolVar(&strict, "strict", false, "take warnings for failures")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, id := range append(plan.Only, plan.Skip...) {
			if !doctor.Known(id) {
				return usagef("there is no check %q (see passbuddy doctor --help)", id)
			}
		}
		if plan.TTL < 50*time.Millisecond || plan.TTL > 24*time.Hour {
			return usagef("--ttl %v: from 50ms to 24h", plan.TTL)
		}
		if plan.Duration <= 0 || plan.Duration > time.Minute {
			return usagef("--duration %v: up to 1m", plan.Duration)
		}
		plan.URL, plan.Prefix, plan.Timeout = p.redisURL(), p.prefix, p.timeout
		colour := !p.noColor && noColorVariable() && isTerminal(p.out)
		findings := []doctor.Finding{}
		count := map[doctor.Level]int{}
		err := doctor.Examine(cmd.Context(), plan, func(f doctor.Finding) {
			findings = append(findings, f)
			if count[f.Level]++; !p.json {
				p.finding(f, colour)
			}
		})
		if err != nil {
			return err
		}
		if p.json {
			err = p.printJSON(struct {
				Schema   int              `json:"schema"`
				Findings []doctor.Finding `json:"findings"`
			}{1, findings})
		} else {
			_, err = fmt.Fprintf(p.out, "\nfailures: %d, warnings: %d, unknown: %d\n", count[doctor.Failure], count[doctor.Warning], count[doctor.Unknown])
		}
		if err == nil && (count[doctor.Failure] > 0 || strict && count[doctor.Warning] > 0) {
			p.code = 1
		}
		return err
	}
	return cmd
}

var marks = map[doctor.Level]struct{ mark, colour string }{
	doctor.OK:      {"ok", "32"},
	doctor.Info:    {"info", "36"},
	doctor.Unknown: {"unknown", "35"},
	doctor.Warning: {"warning", "33"},
	doctor.Failure: {"FAILURE", "31"},
}

func (p *program) finding(f doctor.Finding, colour bool) {
	if p.quiet && f.Level != doctor.Failure {
		return
	}
	m := marks[f.Level]
	mark := fmt.Sprintf("%-7s", m.mark)
	if colour {
		mark = "\x1b[" + m.colour + "m" + mark + "\x1b[0m"
	}
	found := printable(strings.ReplaceAll(f.Found, "\n", " "))
	if f.Node != "" {
		found = f.Node + ": " + found
	}
	fmt.Fprintf(p.out, "%s  %s %s: %s\n", mark, f.ID, f.Check, found)
	if f.Why != "" && (f.Level != doctor.Info || p.verbose) {
		fmt.Fprintf(p.out, "         why: %s\n", f.Why)
	}
	if f.Do != "" && (f.Level != doctor.Info || p.verbose) {
		fmt.Fprintf(p.out, "         do:  %s\n", printable(f.Do))
	}
}
