package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// A fakeServer answers each command by answer, and keeps what came: the name of a script and the first key.
type fakeServer struct {
	answer func(verb string, keys []string) ([]int64, error)
	came   []string
}

func (*fakeServer) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *fakeServer) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error { return f.process(cmd) }
}

func (f *fakeServer) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) (first error) {
		for _, cmd := range cmds {
			if err := f.process(cmd); first == nil {
				first = err
			}
		}
		return first
	}
}

func (f *fakeServer) process(cmd redis.Cmder) error {
	args := cmd.Args()
	if wait, is := cmd.(*redis.IntCmd); is {
		wait.SetVal(1)
		return nil
	}
	verb := map[any]string{scripts.Renew.SHA(): "renew", scripts.Renew.Source(): "renew with source", scripts.RenewMany.SHA(): "many", scripts.RenewMany.Source(): "many with source"}[args[1]]
	var keys []string
	for _, key := range args[3 : 3+args[2].(int)] {
		keys = append(keys, strings.TrimPrefix(key.(string), "p-"))
	}
	f.came = append(f.came, verb+" "+strings.Join(keys, " "))
	reply, err := f.answer(verb, keys)
	cmd.(*redis.IntSliceCmd).SetVal(reply)
	cmd.SetErr(err)
	return err
}

// took returns what came since the last time.
func (f *fakeServer) took() (came []string) {
	came, f.came = f.came, nil
	return came
}

// A renewing is a sender of one renewal.
type renewing struct {
	name    string
	call    protocol.Call
	arrived *[]string // of all senders, in order
	batch   *protocol.Batch
}

func (s *renewing) Keys() *scripts.Keys          { return scripts.KeysOf("p", s.name, time.Second, 1) }
func (s *renewing) Depart(Round) *protocol.Batch { return nil }
func (s *renewing) Arrive(*protocol.Batch, *Server) {
	*s.arrived = append(*s.arrived, s.name)
}

// A jointTest exchanges renewals with a fake server.
type jointTest struct {
	*testing.T
	transport *Transport
	server    *fakeServer
	arrived   []string
}

const micros = 5_000_001 // the fake server's time; in ms it rounds up to 5001

func newJointTest(t *testing.T) *jointTest {
	client := redis.NewClient(&redis.Options{})
	t.Cleanup(func() { _ = client.Close() })
	j := &jointTest{T: t, server: &fakeServer{}, transport: New(t.Context(), client)}
	client.AddHook(j.server)
	j.answers(func(string, []string) ([]int64, error) { return nil, nil })
	return j
}

// answers has the server answer as f does; where that is nil, all is renewed.
func (j *jointTest) answers(f func(verb string, keys []string) ([]int64, error)) {
	j.server.answer = func(verb string, keys []string) ([]int64, error) {
		if reply, err := f(verb, keys); reply != nil || err != nil {
			return reply, err
		}
		if strings.HasPrefix(verb, "renew") {
			return []int64{micros, 6001, 0}, nil
		}
		return []int64{micros, 0}, nil
	}
}

func (j *jointTest) sender(name string, ttl, permits int) *renewing {
	g := &protocol.Grant{ID: name + "-id@me~1", Weight: int32(permits)}
	s := &renewing{name: name, arrived: &j.arrived, call: protocol.Call{Verb: protocol.Renew, TTL: int64(ttl), Grants: []*protocol.Grant{g}, Permits: permits}}
	return s
}

func (j *jointTest) senders(names ...string) (all []*renewing) {
	for _, name := range names {
		all = append(all, j.sender(name, 1000, 1))
	}
	return all
}

// exchange sends what all have to renew in one round, and returns what came to the server.
func (j *jointTest) exchange(replicas int, all ...*renewing) []string {
	var entries []entry
	for _, s := range all {
		s.batch = &protocol.Batch{Patience: time.Second, Renews: s.call.Permits, Calls: []protocol.Call{s.call}, Replicas: replicas, ReplicaWait: time.Second}
		entries = append(entries, entry{s, s.batch})
	}
	j.arrived = nil
	p := j.transport.newPipeline()
	defer p.patient.end()
	var a *acknowledgement
	if replicas > 0 {
		a = &acknowledgement{node: j.transport.client.(*redis.Client), fewest: -1}
	}
	p.exchange(entries, j.transport.Server(""), false, a)
	return j.server.took()
}

func (j *jointTest) must(what string, got, want []string) {
	j.Helper()
	if !slices.Equal(got, want) {
		j.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestRenewalsOfOneTTLShareACall(t *testing.T) {
	j := newJointTest(t)
	all := j.senders("a", "b", "c")
	lone, first := j.sender("lone", 2000, 1), j.sender("first", 1000, 1)
	first.call.Lifetime = true
	all = append(all, lone, first)
	j.must("sent", j.exchange(0, all...), []string{"many a b c", "renew lone", "renew first"})
	for _, s := range all {
		if c := s.batch.Calls[0]; c.Failure.Err != nil || c.Server != micros || c.Expiry != 6001 || c.More || len(c.Lost) > 0 {
			t.Errorf("%s: %+v", s.name, c)
		}
	}
	if len(j.arrived) != 5 {
		t.Errorf("answered: %v", j.arrived)
	}
}

func TestOneCallRenewsSoManyAtMost(t *testing.T) {
	j := newJointTest(t)
	var all []*renewing
	for i := range mostJoined + 2 {
		all = append(all, j.sender(fmt.Sprint(i), 1000, 1))
	}
	came := j.exchange(0, all...)
	if len(came) != 2 || strings.Count(came[0], " ") != mostJoined || strings.Count(came[1], " ") != 2 {
		t.Errorf("%d calls: %.100q", len(came), came)
	}
	j.must("sent", j.exchange(0, j.sender("a", 1000, 200), j.sender("b", 1000, 250), j.sender("heavy", 1000, 251), j.sender("c", 1000, 100), j.sender("d", 1000, 1)),
		[]string{"many a b", "renew heavy", "many c d"})
}

// What the call leaves over goes alone, and nobody else waits for that. What the call has freed is not forgotten.
func TestWhatAJointRenewalLeavesGoesAlone(t *testing.T) {
	j := newJointTest(t)
	j.answers(func(verb string, keys []string) ([]int64, error) {
		switch {
		case verb == "many":
			return []int64{micros, 4, -1, -2, 2, 3}, nil
		case keys[0] == "b":
			return []int64{micros, 6001, 0, 1}, nil
		}
		return nil, redisError("WRONGTYPE Operation against a key holding the wrong kind of value")
	})
	all := j.senders("a", "b", "c", "d")
	j.must("sent", j.exchange(0, all...), []string{"many a b c d", "renew b", "renew c"})
	slices.Sort(j.arrived[2:])
	j.must("answered", j.arrived, []string{"a", "d", "b", "c"})
	a, b, c := &all[0].batch.Calls[0], &all[1].batch.Calls[0], &all[2].batch.Calls[0]
	if !a.More || !b.More || len(a.Lost) > 0 || !slices.Equal(b.Lost, []int64{1}) || a.Failure.Err != nil || b.Failure.Err != nil || !c.Failure.Permanent {
		t.Errorf("%+v\n%+v\n%+v", a, b, c)
	}
}

func TestAJointRenewalBringsItsSource(t *testing.T) {
	j := newJointTest(t)
	j.answers(func(verb string, _ []string) ([]int64, error) {
		if verb == "many" {
			return nil, redisError("NOSCRIPT No matching script. Please use EVAL.")
		}
		return nil, nil
	})
	j.must("sent", j.exchange(0, j.senders("a", "b")...), []string{"many a b", "many with source a b"})
	j.must("answered", j.arrived, []string{"a", "b"})
}

// A server, or a proxy before it, that takes no call with keys of several semaphores costs one round trip, once.
func TestAServerThatTakesNoJointRenewalGetsNone(t *testing.T) {
	joint, single := []string{"many a b"}, []string{"renew a", "renew b"}
	for _, tc := range []struct {
		says        redisError
		first, then []string
		fails       bool
	}{
		{"CROSSSLOT Keys in request don't hash to the same slot", slices.Concat(joint, single), single, false},
		{"NOPERM No permissions to access a key", slices.Concat(joint, single), slices.Concat(joint, single), false}, // perhaps one of them
		{"LOADING Redis is loading the dataset in memory", joint, joint, true},                                       // each would hear the same
		{"TRYAGAIN Multiple keys request during rehashing of slot", slices.Concat(joint, single), single, false},
		{"NOAUTH Authentication required.", joint, joint, true},
	} {
		j := newJointTest(t)
		j.answers(func(verb string, _ []string) ([]int64, error) {
			if verb == "many" {
				return nil, tc.says
			}
			return nil, nil
		})
		j.must("sent", j.exchange(0, j.senders("a", "b")...), tc.first)
		all := j.senders("a", "b")
		j.must("then", j.exchange(0, all...), tc.then)
		if c := all[1].batch.Calls[0]; tc.fails != (c.Failure.Err != nil) || !tc.fails && c.Expiry != 6001 {
			t.Errorf("%s: %+v", tc.says, c)
		}
	}
}

// A call that is not answered is that of each of its semaphores, and is not sent again: it may have been carried out.
func TestAJointRenewalWithoutAnAnswerIsNotRepeated(t *testing.T) {
	j := newJointTest(t)
	j.answers(func(string, []string) ([]int64, error) { return nil, io.ErrUnexpectedEOF })
	all := j.senders("a", "b")
	j.must("sent", j.exchange(0, all...), []string{"many a b"})
	for _, s := range all {
		if !errors.Is(s.batch.Calls[0].Failure.Err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v", s.batch.Calls[0])
		}
	}
}

// A cut reply is none: whoever it would be silent of has perhaps lost its permit.
func TestAJointRenewalThatIsAnsweredInPartIsRepeatedAlone(t *testing.T) {
	j := newJointTest(t)
	j.answers(func(verb string, _ []string) ([]int64, error) {
		if verb == "many" {
			return []int64{micros, 2, -1}, nil
		}
		return nil, nil
	})
	all := j.senders("a", "b")
	j.must("sent", j.exchange(0, all...), []string{"many a b", "renew a", "renew b"})
	if !all[0].batch.Twice || all[0].batch.Calls[0].Failure.Err != nil {
		t.Errorf("%+v", all[0].batch)
	}
}

// A renewal that is single in the first pass, because the joint is full, is sent once when it joins in the second.
func TestARenewalThatJoinsInTheSecondPassIsSentOnce(t *testing.T) {
	j := newJointTest(t)
	known := false
	j.answers(func(verb string, _ []string) ([]int64, error) {
		if verb == "renew" && !known {
			known = true
			return nil, redisError("NOSCRIPT No matching script. Please use EVAL.")
		}
		return nil, nil
	})
	single := j.sender("single", 1000, 1)
	single.call.Lifetime = true
	all := []*renewing{j.sender("one", 1000, 1), single}
	for i := range mostJoined {
		all = append(all, j.sender(fmt.Sprint(i), 1000, 1))
	}
	came := j.exchange(0, all...)
	last := fmt.Sprint("renew ", mostJoined-1)
	if n := strings.Count(strings.Join(came, "\n"), last); n != 1 {
		t.Errorf("%q was sent %d times: %.60q", last, n, came)
	}
}

func TestReplicasAcknowledgeAJointRenewal(t *testing.T) {
	j := newJointTest(t)
	j.answers(func(verb string, _ []string) ([]int64, error) {
		if verb == "many" {
			return []int64{micros, 1, 2}, nil
		}
		return nil, nil
	})
	all := j.senders("a", "b")
	j.must("sent", j.exchange(1, all...), []string{"many a b", "renew b"})
	for _, s := range all {
		if s.batch.Acknowledged != 1 {
			t.Errorf("%s: %d", s.name, s.batch.Acknowledged)
		}
	}
}
