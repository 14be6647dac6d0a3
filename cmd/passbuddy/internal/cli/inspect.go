package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// shown is how many holders and waiters inspect lists.
const shown = 100

func (p *program) inspect() *cobra.Command {
	var all, watch bool
	cmd := &cobra.Command{
		Use:     "inspect NAME",
		Short:   "Show who holds a semaphore, and who waits",
		Long:    "inspect shows who holds permits of a semaphore, who waits for them, and what an operator has set.\n\n" + aboutWatch,
		Example: "  passbuddy inspect gpu\n  passbuddy inspect gpu --json | jq '.holders[].owner'\n  passbuddy inspect gpu --watch",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().BoolVar(&all, "all", false, fmt.Sprintf("list all holders and waiters, and not the first %d", shown))
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again when it changes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, err := p.open()
		if err != nil {
			return err
		}
		defer m.Close()
		look := func(ctx context.Context) (picture, error) {
			state, d, err := p.inspected(ctx, m, args[0], all)
			if err != nil {
				return picture{}, err
			}
			return picture{
				json: d,
				text: func(w io.Writer) { describe(w, d) },
				same: facts(state),
			}, nil
		}
		if watch {
			return p.follow(cmd.Context(), look)
		}
		found, err := look(cmd.Context())
		if err != nil {
			return err
		}
		return found.print(p.out, p.json)
	}
	return cmd
}

// facts are all of state, without what changes as time passes.
func facts(state *lease.State) view.Detail {
	d := view.OfState(state, math.MaxInt) // which of many are listed depends on the time, too
	d.Semaphore = timeless(d.Semaphore)
	for i := range d.Holders {
		d.Holders[i].Expires = time.Time{}
	}
	slices.SortFunc(d.Holders, func(a, b view.Holder) int { return cmp.Compare(a.ID, b.ID) }) // they are listed by expiry
	return d
}

// An unknown semaphore is one that nobody has used, or not within a day.
type unknown struct{ *failure }

func (u unknown) Unwrap() error { return u.failure }

func (p *program) unknown(name string) error {
	return unknown{&failure{1, fmt.Sprintf("there is no semaphore %q under the prefix %q; passbuddy ls lists what there is", name, p.prefix)}}
}

// isUnknown reports whether err says that there is no such semaphore, be it no longer or not yet.
func isUnknown(err error) bool { return errors.As(err, &unknown{}) }

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
		return nil, d, p.unknown(name)
	}
	return state, d, nil
}

func describe(out io.Writer, d view.Detail) {
	now := d.ServerTime
	fmt.Fprintf(out, "%s: %d of %d held, %d waiting, %s\n", printable(d.Name), d.Held, d.Capacity, d.Waiting, d.StateText())
	if d.Declared > 0 {
		fmt.Fprintf(out, "The fleet declares a capacity of %d and a TTL of %v.\n", d.Declared, time.Duration(d.TTL*float64(time.Second)))
	}
	if o := d.Override; o != nil && o.At != nil {
		fmt.Fprintf(out, "%s set it to %d %s ago%s.\n", printable(o.By), o.Capacity, view.Brief(now.Sub(*o.At)), printable(show.Because(o.Reason)))
	}
	if len(d.Holders) > 0 {
		rows(out, "OWNER\tLABEL\tWT\tSLOTS\tASKED\tEXPIRES\tID", d.Leases-len(d.Holders), "holders", func(w io.Writer) {
			for _, h := range d.Holders {
				asked, expires := "-", "in "+view.Brief(h.Expires.Sub(now))
				if h.Asked != nil {
					asked = view.Brief(now.Sub(*h.Asked)) + " ago"
				}
				if h.Revoked {
					expires += ", revoked"
				}
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", printable(show.Dash(h.Owner)), printable(show.Dash(h.Label)), h.Weight, show.Numbers(h.Slots), asked, expires, printable(h.ID))
			}
		})
	}
	if len(d.Waiters) > 0 {
		rows(out, "PLACE\tOWNER\tLABEL\tWT\tWAITS\tALIVE", d.Queue-len(d.Waiters), "waiters", func(w io.Writer) {
			for _, q := range d.Waiters {
				alive := "yes"
				if !q.Alive {
					alive = "no: it is passed over"
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\n", q.Place, printable(show.Dash(q.Owner)), printable(show.Dash(q.Label)), q.Weight, view.Brief(now.Sub(q.Since)), alive)
			}
		})
	}
	if len(d.Processes) > 0 {
		rows(out, "PROCESS\tCALLERS THAT WAIT", 0, "", func(w io.Writer) {
			for _, q := range d.Processes {
				fmt.Fprintf(w, "%s\t%d\n", printable(show.Dash(q.Owner)), q.Callers)
			}
		})
	}
}

// rows prints a table under an empty line, and how much more there is.
func rows(out io.Writer, heading string, more int, of string, fill func(io.Writer)) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	fill(w)
	_ = w.Flush()
	if more > 0 {
		fmt.Fprintf(out, "… and %d more %s (--all)\n", more, of)
	}
}
