package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/guard"
	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/operate"
	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// changed carries out what changes the capacity in force, and says what it has changed. check may refuse.
func (p *program) changed(cmd *cobra.Command, name, did string, check func(before view.Semaphore) error, act func(context.Context, *lease.Manager) error) error {
	m, err := p.open()
	if err != nil {
		return err
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), p.timeout)
	defer cancel()
	c, err := operate.Capacity(ctx, m, name, did, check, func(ctx context.Context) error { return act(ctx, m) })
	if err != nil {
		return err
	}
	if p.json {
		return p.printJSON(c)
	}
	fmt.Fprintln(p.out, c)
	if c.Held > c.After && !p.quiet {
		p.say("the permits that are held stay so until their holders return them")
	}
	if c.Undo != "" && c.Before != c.After && !p.quiet {
		p.say("to undo it: %s", c.Undo)
	}
	return nil
}

// mustExist refuses a name that nobody has used.
func (p *program) mustExist(s view.Semaphore) error {
	if !s.Known {
		return p.unknown(s.Name)
	}
	return nil
}

func (p *program) resize() *cobra.Command {
	var reason string
	var reset bool
	cmd := &cobra.Command{
		Use:   "resize NAME CAPACITY",
		Short: "Set the capacity for all, whatever the processes declare",
		Long: `resize sets the capacity for all processes, whatever they declare, until passbuddy resize NAME --reset. Who waits is served
at once where there is room now; a permit that is held stays held.`,
		Example: "  passbuddy resize gpu 12 --reason 'four more since Monday'\n  passbuddy resize gpu --reset",
		Args:    cobra.RangeArgs(1, 2),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for who looks later")
	cmd.Flags().BoolVar(&reset, "reset", false, "the capacity is what the processes declare again")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if reset {
			if len(args) > 1 || reason != "" {
				return usagef("--reset goes without a capacity and without a reason: passbuddy resize %s --reset", show.Quoted(name))
			}
			return p.changed(cmd, name, "reset", p.mustExist, func(ctx context.Context, m *lease.Manager) error { return m.ResetCapacity(ctx, name) })
		}
		if len(args) < 2 {
			return usagef("say the capacity: passbuddy resize %s CAPACITY, or --reset", show.Quoted(name))
		}
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 0 {
			return usagef("the capacity %q: a whole number", args[1])
		}
		return p.changed(cmd, name, "resize", nil, func(ctx context.Context, m *lease.Manager) error {
			return m.Resize(ctx, name, n, lease.Reason(reason))
		})
	}
	return cmd
}

func (p *program) pause() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:     "pause NAME",
		Short:   "Grant no permit any more; those that are held stay so",
		Example: "  passbuddy pause gpu --reason 'driver upgrade'",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for who looks later")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.changed(cmd, args[0], "pause", nil, func(ctx context.Context, m *lease.Manager) error {
			return m.Pause(ctx, args[0], lease.Reason(reason))
		})
	}
	return cmd
}

func (p *program) resume() *cobra.Command {
	return &cobra.Command{
		Use:   "resume NAME",
		Short: "End a pause",
		Long: `resume ends a pause: the capacity is again what it was before, as an earlier resize has set it or as the processes declare
it.`,
		Example: "  passbuddy resume gpu",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			paused := func(s view.Semaphore) error {
				if err := p.mustExist(s); err != nil || s.State == view.Paused {
					return err
				}
				if s.Override != nil {
					return failed(1, "%s is not paused; it is resized to %d, and passbuddy resize %s --reset ends that", s.Name, s.Capacity, show.Quoted(s.Name))
				}
				return failed(1, "%s is not paused", s.Name)
			}
			return p.changed(cmd, args[0], "resume", paused, func(ctx context.Context, m *lease.Manager) error { return m.Resume(ctx, args[0]) })
		},
	}
}

func (p *program) revoke() *cobra.Command {
	var owner string
	var yes bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "revoke NAME ID...",
		Short: "Take permits away",
		Long: `revoke ends leases: their holders are told at once, and their contexts end. A permit is free when its holder returns it, at
the latest when its TTL is over. An ID may be the begin of one, if no other begins so; passbuddy inspect shows them.`,
		Example: "  passbuddy revoke gpu 018f3c\n  passbuddy revoke gpu --all-of worker-7/812 --yes --wait 30s",
	}
	cmd.Flags().StringVar(&owner, "all-of", "", "all permits of this owner")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait until they are free; exit 75 if they are not by then")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usagef("say which semaphore and which permits: passbuddy revoke NAME ID...")
		case owner == "" && len(args) == 1:
			return usagef("say which permits: passbuddy revoke %s ID..., or --all-of OWNER", args[0])
		case owner != "" && len(args) > 1:
			return usagef("--all-of is in place of the IDs: say one of them")
		case wait < 0:
			return usagef("--wait %v: it must be above zero", wait)
		}
		m, err := p.open()
		if err != nil {
			return err
		}
		defer m.Close()
		state, _, err := p.inspected(cmd.Context(), m, args[0], false)
		if err != nil {
			return err
		}
		chosen, err := choose(state, args[1:], owner)
		if err != nil {
			return err
		}
		if !yes {
			if err := p.ask(chosen); err != nil {
				return err
			}
		}
		for i, h := range chosen {
			ctx, cancel := context.WithTimeout(cmd.Context(), p.timeout)
			err := m.Revoke(ctx, args[0], h.ID)
			cancel()
			if err != nil && !errors.Is(err, lease.ErrUnknownID) { // which has been given back meanwhile
				return errors.Join(err, p.revoked(args[0], chosen[:i], false)) // what is done is said
			}
		}
		free := true
		if wait > 0 {
			if free, err = p.awaitFree(cmd.Context(), m, args[0], chosen, wait); err != nil {
				return err
			}
		}
		if err := p.revoked(args[0], chosen, wait > 0 && free); err != nil || free {
			return err
		}
		return failed(guard.ExitNoPermit, "after %v they are still held; they expire by themselves", wait)
	}
	return cmd
}

// choose finds the holders by what their ids begin with, or by their owner.
func choose(state *lease.State, ids []string, owner string) (chosen []lease.Holder, err error) {
	for _, h := range state.Holders {
		if owner != "" && (h.Owner == owner || strings.HasPrefix(h.Owner, owner+"~")) {
			chosen = append(chosen, h)
		}
	}
	if owner != "" && len(chosen) == 0 {
		return nil, failed(1, "%s: %q holds nothing; passbuddy inspect %s shows who does", state.Name, owner, show.Quoted(state.Name))
	}
	for _, id := range ids {
		var found []lease.Holder
		for _, h := range state.Holders {
			if id != "" && strings.HasPrefix(h.ID, id) {
				found = append(found, h)
			}
		}
		switch len(found) {
		case 0:
			return nil, failed(1, "%s: no permit's id begins with %q; it may be free by now (passbuddy inspect %s)", state.Name, id, show.Quoted(state.Name))
		case 1:
			chosen = append(chosen, found[0])
		default:
			return nil, failed(guard.ExitUsage, "%s: %d ids begin with %q: say more of it, %q or %q", state.Name, len(found), id, found[0].ID, found[1].ID)
		}
	}
	return chosen, nil
}

// ask has a person confirm.
func (p *program) ask(chosen []lease.Holder) error {
	if !isTerminal(p.in) {
		return usagef("nobody is there to confirm: say --yes")
	}
	for _, h := range chosen {
		fmt.Fprintf(p.err, "  %s  %s  %s\n", printable(h.ID), printable(show.Dash(h.Owner)), printable(h.Label))
	}
	fmt.Fprintf(p.err, "Take %d away? [y/N] ", len(chosen))
	answer, _ := bufio.NewReader(p.in).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return failed(1, "nothing was changed")
	}
	return nil
}

// awaitFree waits until none of the permits is held.
func (p *program) awaitFree(ctx context.Context, m *lease.Manager, name string, chosen []lease.Holder, atMost time.Duration) (bool, error) {
	ids := map[string]bool{}
	for _, h := range chosen {
		ids[h.ID] = true
	}
	for end := time.Now().Add(atMost); ; {
		call, cancel := context.WithTimeout(ctx, p.timeout)
		state, err := m.Inspect(call, name)
		cancel()
		if err != nil {
			return false, err
		}
		held := 0
		for _, h := range state.Holders {
			if ids[h.ID] {
				held++
			}
		}
		if held == 0 || time.Now().After(end) {
			return held == 0, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

func (p *program) revoked(name string, chosen []lease.Holder, free bool) error {
	ids := make([]string, len(chosen))
	for i, h := range chosen {
		ids[i] = h.ID
	}
	if p.json {
		return p.printJSON(struct {
			Schema  int      `json:"schema"`
			Name    string   `json:"name"`
			Revoked []string `json:"revoked"`
			Free    bool     `json:"free"`
		}{view.Schema, name, ids, free})
	}
	for i, h := range chosen {
		fmt.Fprintf(p.out, "%s: took %s away from %s\n", printable(name), printable(ids[i]), printable(show.Dash(h.Owner)))
	}
	return nil
}
