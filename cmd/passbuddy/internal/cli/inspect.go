package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// shown is how many holders and waiters inspect lists.
const shown = 100

func (p *program) inspect() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "inspect NAME",
		Short:   "Show who holds a semaphore, and who waits",
		Example: "  passbuddy inspect gpu\n  passbuddy inspect gpu --json | jq '.holders[].owner'",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&all, "all", false, fmt.Sprintf("list all holders and waiters, and not the first %d", shown))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := p.open()
		if err != nil {
			return err
		}
		defer m.Close()
		state, d, err := p.inspected(cmd.Context(), m, args[0], all)
		if err != nil {
			return err
		}
		if p.json {
			return p.printJSON(d)
		}
		p.describe(state.OtherTTL, d)
		return nil
	}
	return cmd
}

// inspected fails where there is no such semaphore.
func (p *program) inspected(ctx context.Context, m *lease.Manager, name string, all bool) (*lease.State, view.Detail, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	state, err := m.Inspect(ctx, name)
	if err != nil {
		return nil, view.Detail{}, err
	}
	atMost := shown
	if all {
		atMost = math.MaxInt
	}
	d := view.OfState(state, atMost)
	if !d.Known {
		return nil, d, failed(1, "there is no semaphore %q under the prefix %q; passbuddy ls lists what there is", name, p.prefix)
	}
	return state, d, nil
}

func (p *program) describe(ttl time.Duration, d view.Detail) {
	now := d.ServerTime
	fmt.Fprintf(p.out, "%s: %d of %d held, %d waiting, %s\n", printable(d.Name), d.Held, d.Capacity, d.Waiting, d.StateText())
	if d.Declared > 0 {
		fmt.Fprintf(p.out, "The fleet declares a capacity of %d and a TTL of %v.\n", d.Declared, ttl)
	}
	if o := d.Override; o != nil && o.At != nil {
		fmt.Fprintf(p.out, "%s set it to %d %s ago%s.\n", printable(o.By), o.Capacity, view.Brief(now.Sub(*o.At)), printable(because(o.Reason)))
	}
	if len(d.Holders) > 0 {
		p.rows("OWNER\tLABEL\tWT\tSLOTS\tASKED\tEXPIRES\tID", d.Leases-len(d.Holders), "holders", func(w io.Writer) {
			for _, h := range d.Holders {
				asked, expires := "-", "in "+view.Brief(h.Expires.Sub(now))
				if h.Asked != nil {
					asked = view.Brief(now.Sub(*h.Asked)) + " ago"
				}
				if h.Revoked {
					expires += ", revoked"
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", printable(dash(h.Owner)), printable(dash(h.Label)), h.Weight, numbers(h.Slots), asked, expires, printable(h.ID))
			}
		})
	}
	if len(d.Waiters) > 0 {
		p.rows("PLACE\tOWNER\tLABEL\tWT\tWAITS\tALIVE", d.Queue-len(d.Waiters), "waiters", func(w io.Writer) {
			for _, q := range d.Waiters {
				alive := "yes"
				if !q.Alive {
					alive = "no: it is passed over"
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\n", q.Place, printable(dash(q.Owner)), printable(dash(q.Label)), q.Weight, view.Brief(now.Sub(q.Since)), alive)
			}
		})
	}
	if len(d.Processes) > 0 {
		p.rows("PROCESS\tCALLERS THAT WAIT", 0, "", func(w io.Writer) {
			for _, q := range d.Processes {
				fmt.Fprintf(w, "%s\t%d\n", printable(dash(q.Owner)), q.Callers)
			}
		})
	}
}

// because is a reason, where there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// rows prints a table under an empty line, and how much more there is.
func (p *program) rows(heading string, more int, of string, fill func(io.Writer)) {
	fmt.Fprintln(p.out)
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	fill(w)
	_ = w.Flush()
	if more > 0 {
		fmt.Fprintf(p.out, "… and %d more %s (--all)\n", more, of)
	}
}
