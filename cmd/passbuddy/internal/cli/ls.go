package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
)

func (p *program) ls() *cobra.Command {
	var order string
	var limit int
	var watch bool
	cmd := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "List the semaphores that have been used within a day",
		Long: `ls lists the semaphores that have been used within a day, or those whose names match a pattern: * stands for any
characters, ? for one, [abc] for one of them.

STATE is ok; paused; resized, from what the fleet declares to what an operator has set; over: more is held than the
capacity; stuck: permits are free, and somebody waits.

` + aboutWatch,
		Example: "  passbuddy ls\n  passbuddy ls 'api-*' --sort wait\n  passbuddy ls --json\n  passbuddy ls --watch | tee semaphores.log",
		Args:    cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&order, "sort", "name", "name, held, wait, or expiry")
	cmd.Flags().IntVar(&limit, "limit", 0, "list so many at most")
	cmd.Flags().BoolVar(&watch, "watch", false, "print the list again when it changes")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case !show.Sort(nil, order):
			return usagef("--sort %q: %s", order, strings.Join(show.Orders, ", "))
		case limit < 0:
			return usagef("--limit %d: it must be above zero", limit)
		}
		m, err := p.open()
		if err != nil {
			return err
		}
		defer m.Close()
		looker, err := show.NewLooker(m, args...)
		if err != nil {
			return usagef("%v", err)
		}
		list := &list{program: p, looker: looker, pattern: strings.Join(args, ""), order: order, limit: limit}
		if watch {
			return p.follow(cmd.Context(), list.look)
		}
		found, err := list.look(cmd.Context())
		if err != nil {
			return err
		}
		return found.print(p.out, p.json)
	}
	return cmd
}

// A list is what ls shows.
type list struct {
	*program
	looker  *show.Looker
	pattern string
	order   string
	limit   int

	names   []string
	scanned time.Time
}

// look finds the names, unless it has done so within a minute, and sums up what they stand for.
func (l *list) look(ctx context.Context) (picture, error) {
	isFirst := l.scanned.IsZero()
	if isFirst || time.Since(l.scanned) > show.RescanAfter {
		scan, cancel := context.WithTimeout(ctx, 10*l.timeout) // a large keyspace takes a while
		defer cancel()
		names, err := l.looker.Names(scan)
		if err != nil {
			return picture{}, err
		}
		l.names, l.scanned = names, time.Now()
	}
	ctx, end := context.WithTimeout(ctx, l.timeout)
	defer end()
	all, err := l.looker.Look(ctx, l.names)
	if err != nil {
		return picture{}, err
	}
	show.Sort(all, l.order)
	found := len(all)
	if l.limit > 0 && found > l.limit {
		all = all[:l.limit]
	}
	if found == 0 && isFirst && !l.quiet && !l.json {
		l.say("no semaphore matches %q: the keys begin with %q (--prefix), and are kept for a day", orAll(l.pattern), l.prefix)
	}
	if len(all) < found && isFirst && !l.quiet && !l.json {
		l.say("%d more: --limit %d", found-len(all), found)
	}
	same := make([]view.Semaphore, len(all))
	for i, v := range all {
		same[i] = timeless(v)
	}
	slices.SortFunc(same, func(a, b view.Semaphore) int { return cmp.Compare(a.Name, b.Name) }) // they may be listed by expiry
	return picture{
		json: view.List{Schema: view.Schema, Semaphores: all, Found: found},
		text: func(w io.Writer) { table(w, all) },
		same: same,
	}, nil
}

func orAll(pattern string) string {
	if pattern == "" {
		return "*"
	}
	return pattern
}

// timeless is v without what changes as time passes.
func timeless(v view.Semaphore) view.Semaphore {
	v.Oldest, v.Expires, v.ServerTime = nil, nil, time.Time{}
	return v
}

func table(out io.Writer, all []view.Semaphore) {
	if len(all) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCAP\tHELD\tWAIT\tOLDEST WAIT\tNEXT EXPIRY\tSTATE")
	for _, v := range all {
		if v.Error != "" {
			fmt.Fprintf(w, "%s\t-\t-\t-\t-\t-\t%s\n", printable(v.Name), printable(v.Error))
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", printable(v.Name), v.Capacity, v.Held, v.Waiting, show.Seconds(v.Oldest), show.Expiry(v), v.StateText())
	}
	_ = w.Flush()
}
