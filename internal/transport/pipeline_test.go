package transport

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// go-redis repeats a pipeline while the server refuses its first command in passing. No renewal waits for that.
func TestRenewalsLeadAPipeline(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	sent := make(firstCommands, 1)
	client.AddHook(sent)
	grants := []*protocol.Grant{{ID: "an-id@me~1#2", Weight: 2}}
	s := &oneBatch{arrived: make(chan struct{}), batch: &protocol.Batch{Patience: time.Second, Renews: 2, Calls: []protocol.Call{
		{Verb: protocol.Release, Grants: grants, Permits: 2, Promote: true}, // a script, because of the weight
		{Verb: protocol.Renew, Grants: grants, Permits: 2},
		{Verb: protocol.Acquire, Grants: grants, Permits: 2, Ages: []int64{protocol.Once}},
	}}}
	New(t.Context(), client).Send(s, false)
	<-s.arrived
	if args := <-sent; args[0] != "evalsha" || args[2] != 1 { // renew alone has one key
		t.Errorf("the first command is %v", args)
	}
}

// oneBatch is a sender of one batch.
type oneBatch struct {
	batch   *protocol.Batch
	arrived chan struct{}
}

func (s *oneBatch) Keys() *scripts.Keys { return scripts.KeysOf("p", "gpu", time.Second, 1) }

func (s *oneBatch) Depart(Round) *protocol.Batch { return s.batch }

func (s *oneBatch) Arrive(*protocol.Batch, *Server) { close(s.arrived) }

// firstCommands has the first command of each pipeline, and carries none out.
type firstCommands chan []any

func (firstCommands) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (firstCommands) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (c firstCommands) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		select {
		case c <- cmds[0].Args():
		default:
		}
		return nil
	}
}
