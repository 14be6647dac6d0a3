package transport

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// A slot that moves and a memory that is full refuse the script; the ids have been taken out before it.
func TestAReleaseWhosePromotionIsRefusedHasGivenBack(t *testing.T) {
	for _, tc := range []struct {
		taken, promoted error
		back            bool
	}{
		{nil, redisError("TRYAGAIN Multiple keys request during rehashing of slot"), true},
		{nil, redisError("OOM command not allowed when used memory > 'maxmemory'."), true},
		{nil, redisError("ASK 13009 127.0.0.1:7001"), true},
		{nil, redisError("ERR unknown command 'EVALSHA'"), false},
		{nil, io.ErrUnexpectedEOF, false},
		{redisError("TRYAGAIN later"), redisError("TRYAGAIN later"), false},
	} {
		zrem, promotion := redis.NewIntCmd(t.Context()), redis.NewIntSliceCmd(t.Context())
		zrem.SetVal(1)
		zrem.SetErr(tc.taken)
		promotion.SetErr(tc.promoted)
		c := &protocol.Call{Verb: protocol.Release, Grants: []*protocol.Grant{{ID: "an-id@me~1", Weight: 1}}, Permits: 1, Promote: true}
		r := &request{call: c, zrem: zrem, cmd: promotion}
		r.finish(nil)
		if back := c.Failure.Err == nil && c.Unpromoted; back != tc.back {
			t.Errorf("%v, then %v: given back %v, %v", tc.taken, tc.promoted, back, c.Failure.Err)
		}
	}
}

// go-redis returns the error of a connection that it cannot set up for the pipeline, and sets it on no command.
func TestAnErrorOfTheWholePipelineIsThatOfEachOfItsCalls(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	wrong := redisError("WRONGPASS invalid username-password pair or user is disabled.")
	client.AddHook(failingPipelines{wrong})
	grants := []*protocol.Grant{{ID: "an-id@me~1", Weight: 1}}
	calls := []protocol.Call{
		{Verb: protocol.Release, Grants: grants, Permits: 1, Promote: true}, // plain: a ZREM and a script
		{Verb: protocol.Renew, Grants: grants},
		{Verb: protocol.Acquire, Grants: grants, Ages: []int64{protocol.Once}},
	}
	New(t.Context(), client).Run(t.Context(), scripts.KeysOf("p", "gpu", time.Second, 1), calls)
	for _, c := range calls {
		if c.Failure.Err != wrong || !c.Failure.Permanent {
			t.Errorf("%v failed with %+v", c.Verb, c.Failure)
		}
	}
}

// failingPipelines are a client's whose pipelines fail as a whole.
type failingPipelines struct{ err error }

func (failingPipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (failingPipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (f failingPipelines) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return f.err }
}
