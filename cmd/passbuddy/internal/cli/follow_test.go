package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// A semaphore that is gone is not Redis that is away: each is told by its name, once, and so is its end.
func TestAWatchTellsWhatIsGoneFromRedisAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out, said bytes.Buffer
		p := &program{out: &out, err: &said, began: true}
		gone, away := p.unknown("gpu"), errors.New("no answer")
		seen := []error{nil, nil, gone, gone, nil, away, away, nil, away, gone, away, nil}
		looks := 0
		err := p.follow(ctx, func(context.Context) (picture, error) {
			if looks == len(seen) {
				cancel()
				return picture{}, ctx.Err()
			}
			looks++
			return picture{same: "as ever", text: func(w io.Writer) { fmt.Fprintf(w, "look %d\n", looks) }}, seen[looks-1]
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if got, want := out.String(), "look 1\n\nlook 5\n"; got != want {
			t.Errorf("it printed %q, want %q", got, want)
		}
		said1, said2, back := p.failureOf(gone).text+"; it goes on by itself", "no answer; it goes on by itself", "Redis answers again"
		var want strings.Builder
		for _, line := range []string{said1, said2, back, said2, said1, said2, back} {
			fmt.Fprintf(&want, "passbuddy: %s\n", line)
		}
		if said.String() != want.String() {
			t.Errorf("it said\n%swant\n%s", &said, &want)
		}
	})
}

// summaries are what a server says of semaphores.
type summaries []lease.Summary

func (s summaries) Names(context.Context) ([]string, error) { return []string{"cpu", "gpu"}, nil }

func (s summaries) Summaries(context.Context, ...string) ([]lease.Summary, error) { return s, nil }

// Renewals change the order of a list by expiry, and which of many permits are among the first.
func TestRenewalsThatChangeAnOrderAreNoChange(t *testing.T) {
	now := time.Now()
	var lists []picture
	for _, cpu := range []time.Duration{time.Second, time.Minute} {
		held := func(name string, expires time.Duration) lease.Summary {
			return lease.Summary{Name: name, ServerTime: now, Capacity: 1, OtherDeclared: 1, Held: 1, NextExpiry: now.Add(expires)}
		}
		looker, err := show.NewLooker(summaries{held("cpu", cpu), held("gpu", 10*time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		l := &list{program: &program{timeout: time.Minute, quiet: true}, looker: looker, order: "expiry"}
		v, err := l.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		lists = append(lists, v)
	}
	if first, then := lists[0].json.(view.List).Semaphores[0].Name, lists[1].json.(view.List).Semaphores[0].Name; first != "cpu" || then != "gpu" {
		t.Fatalf("the first is %s, then %s", first, then)
	}
	if !reflect.DeepEqual(lists[0].same, lists[1].same) {
		t.Errorf("a change from %v to %v", lists[0].same, lists[1].same)
	}

	state := &lease.State{Name: "gpu", ServerTime: now, Capacity: 200, OtherDeclared: 200, Held: 150}
	for i := range 150 {
		state.Holders = append(state.Holders, lease.Holder{ID: fmt.Sprint(i), Weight: 1, Expires: now.Add(time.Duration(i) * time.Second)})
	}
	before := facts(state)
	for range 60 { // the first is renewed
		h := state.Holders[0]
		h.Expires = h.Expires.Add(time.Hour)
		state.Holders = append(state.Holders[1:], h)
	}
	if !reflect.DeepEqual(before, facts(state)) {
		t.Error("renewals of the first of many holders count as a change")
	}
}
