package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

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
		state, view, err := p.inspected(cmd.Context(), m, args[0])
		if err != nil {
			return err
		}
		holders, waiters := holdersOf(state), waitersOf(state)
		if !all {
			holders, waiters = holders[:min(len(holders), shown)], waiters[:min(len(waiters), shown)]
		}
		if p.json {
			return p.printJSON(struct {
				Schema int `json:"schema"`
				semaphoreView
				ServerTime  time.Time     `json:"server_time"`
				Leases      int           `json:"leases"`
				Queue       int           `json:"queue"`
				Holders     []holderView  `json:"holders"`
				Waiters     []waiterView  `json:"waiters"`
				WaitingWith []processView `json:"waiting_processes"`
			}{1, view, state.ServerTime, len(state.Holders), len(state.Waiters), holders, waiters, processesOf(state)})
		}
		p.describe(state, view, holders, waiters)
		return nil
	}
	return cmd
}

// inspected fails where there is no such semaphore.
func (p *program) inspected(ctx context.Context, m *lease.Manager, name string) (*lease.State, semaphoreView, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	state, err := m.Inspect(ctx, name)
	if err != nil {
		return nil, semaphoreView{}, err
	}
	view := viewOf(state)
	if !view.permanent {
		return nil, view, failed(1, "there is no semaphore %q under the prefix %q; passbuddy ls lists what there is", name, p.prefix)
	}
	return state, view, nil
}

func (p *program) describe(s *lease.State, v semaphoreView, holders []holderView, waiters []waiterView) {
	fmt.Fprintf(p.out, "%s: %d of %d held, %d waiting, %s\n", printable(v.Name), v.Held, v.Capacity, v.Waiting, v.stateText())
	if v.Declared > 0 {
		fmt.Fprintf(p.out, "The fleet declares a capacity of %d and a TTL of %v.\n", v.Declared, s.OtherTTL)
	}
	if len(holders) > 0 {
		p.rows("OWNER\tLABEL\tWT\tSLOTS\tASKED\tEXPIRES\tID", len(s.Holders)-len(holders), "holders", func(w io.Writer) {
			for _, h := range holders {
				asked, expires := "-", "in "+brief(h.Expires.Sub(s.ServerTime))
				if h.Asked != nil {
					asked = brief(s.ServerTime.Sub(*h.Asked)) + " ago"
				}
				if h.Revoked {
					expires += ", revoked"
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", printable(dash(h.Owner)), printable(dash(h.Label)), h.Weight, numbers(h.Slots), asked, expires, printable(h.ID))
			}
		})
	}
	if len(waiters) > 0 {
		p.rows("PLACE\tOWNER\tLABEL\tWT\tWAITS\tALIVE", len(s.Waiters)-len(waiters), "waiters", func(w io.Writer) {
			for _, q := range waiters {
				alive := "yes"
				if !q.Alive {
					alive = "no: it is passed over"
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\n", q.Place, printable(dash(q.Owner)), printable(dash(q.Label)), q.Weight, brief(s.ServerTime.Sub(q.Since)), alive)
			}
		})
	}
	if len(s.Waiting) > 0 {
		p.rows("PROCESS\tCALLERS THAT WAIT", 0, "", func(w io.Writer) {
			for _, q := range s.Waiting {
				fmt.Fprintf(w, "%s\t%d\n", printable(dash(q.Owner)), q.Callers)
			}
		})
	}
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
