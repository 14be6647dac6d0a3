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

// A caller may carry its own batch, and recover from a panic in a hook of its client. The next one is carried as ever.
func TestAHookThatPanicsTakesNothingAway(t *testing.T) {
	client := redis.NewClient(&redis.Options{})
	defer client.Close()
	client.AddHook(panics{})
	transport := New(t.Context(), client)
	s := &oneBatch{batch: &protocol.Batch{Patience: time.Second, Calls: []protocol.Call{{Verb: protocol.Release}}}}
	for _, gaveUp := range []bool{false, true} {
		func() {
			defer func() {
				if r := recover(); r != "a hook" {
					t.Errorf("recovered %v", r)
				}
			}()
			s.depart = func(r Round) {
				if gaveUp { // meanwhile
					transport.GiveUp(r)
				}
			}
			transport.Send(s, true)
		}()
		if !transport.Quiet() {
			t.Errorf("given up %v: something is under way for ever", gaveUp)
		}
	}
	transport.Wait()
}

// panics is a hook.
type panics struct{}

func (panics) DialHook(next redis.DialHook) redis.DialHook { return next }
func (panics) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { panic("a hook") }
}
func (panics) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { panic("a hook") }
}

// oneBatch is a sender of one batch.
type oneBatch struct {
	batch   *protocol.Batch
	depart  func(Round) // nil: nothing
	arrived chan struct{}
}

func (s *oneBatch) Keys() *scripts.Keys { return scripts.KeysOf("p", "gpu", time.Second, 1) }

func (s *oneBatch) Depart(r Round) *protocol.Batch {
	if s.depart != nil {
		s.depart(r)
	}
	return s.batch
}

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
