package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
)

// A semaphore that is gone is not Redis that is away: each is told by its name, once, and so is its end.
func TestAWatchTellsWhatIsGoneFromRedisAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out, said bytes.Buffer
		p := &program{out: &out, err: &said, began: true}
		gone := failed(exitUnknown, "no such semaphore")
		seen := []error{nil, nil, gone, gone, nil, errors.New("no answer"), errors.New("no answer"), nil}
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
		if got, want := said.String(), "passbuddy: no such semaphore; it goes on by itself\npassbuddy: no answer; it goes on by itself\npassbuddy: Redis answers again\n"; got != want {
			t.Errorf("it said %q, want %q", got, want)
		}
	})
}
