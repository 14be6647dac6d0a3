package cli

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

func (p *program) ls() *cobra.Command {
	var order string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "List the semaphores that have been used within a day",
		Long: `ls lists the semaphores that have been used within a day, or those whose names match a pattern: * stands for any
characters, ? for one, [abc] for one of them.

STATE is ok; paused; resized, from what the fleet declares to what an operator has set; over: more is held than the
capacity; stuck: permits are free, and somebody waits.`,
		Example: "  passbuddy ls\n  passbuddy ls 'api-*' --sort wait\n  passbuddy ls --json",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&order, "sort", "name", "name, held, wait, or expiry")
	cmd.Flags().IntVar(&limit, "limit", 0, "list so many at most")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pattern := "*"
		if len(args) > 0 {
			pattern = args[0]
		}
		if _, err := view.Match(pattern, ""); err != nil {
			return usagef("the pattern %q: %v", pattern, err)
		}
		compare, known := view.Orders[order]
		switch {
		case !known:
			return usagef("--sort %q: name, held, wait, or expiry", order)
		case limit < 0:
			return usagef("--limit %d: it must be above zero", limit)
		}
		m, err := p.open()
		if err != nil {
			return err
		}
		defer m.Close()
		all, err := p.look(cmd.Context(), m, pattern)
		if err != nil {
			return err
		}
		slices.SortFunc(all, compare)
		found := len(all)
		if limit > 0 && found > limit {
			all = all[:limit]
		}
		if p.json {
			return p.printJSON(view.List{Schema: view.Schema, Semaphores: all, Found: found})
		}
		if found == 0 && !p.quiet {
			p.say("no semaphore matches %q: the keys begin with %q (--prefix), and are kept for a day", pattern, p.prefix)
		}
		p.table(all)
		if len(all) < found && !p.quiet {
			p.say("%d more: --limit %d", found-len(all), found)
		}
		return nil
	}
	return cmd
}

// look sums up the semaphores whose names match.
func (p *program) look(ctx context.Context, m *lease.Manager, pattern string) ([]view.Semaphore, error) {
	scan, cancel := context.WithTimeout(ctx, 10*p.timeout) // a large keyspace takes a while
	defer cancel()
	names, err := m.Names(scan)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { ok, _ := view.Match(pattern, name); return !ok })
	ctx, end := context.WithTimeout(ctx, p.timeout)
	defer end()
	found, err := m.Summaries(ctx, names...)
	if err != nil {
		return nil, err
	}
	all := make([]view.Semaphore, len(found))
	for i, one := range found {
		all[i] = view.OfSummary(one)
	}
	return all, nil
}

func (p *program) table(all []view.Semaphore) {
	if len(all) == 0 {
		return
	}
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCAP\tHELD\tWAIT\tOLDEST WAIT\tNEXT EXPIRY\tSTATE")
	for _, v := range all {
		expiry := "-"
		if v.Expires != nil {
			expiry = view.Brief(v.Expires.Sub(v.ServerTime).Round(time.Millisecond))
		}
		if v.Error != "" {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t%s\n", printable(v.Name), printable(v.Error))
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", printable(v.Name), v.Capacity, v.Held, v.Waiting, seconds(v.Oldest), expiry, v.StateText())
	}
	_ = w.Flush()
}
