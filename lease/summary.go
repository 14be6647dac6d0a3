package lease

import (
	"context"
	"time"

	"github.com/eqworks/passbuddy/lease/scripts"
)

// A Summary is what Summaries found of one semaphore: the counts of a State, without the lists.
type Summary struct {
	Name string
	Err  error // why this one could not be looked at; the rest is then zero

	ServerTime    time.Time     // by the server's clock, as are the other times
	Capacity      int           // in force; 0 where nobody has declared any
	Resized       bool          // by Resize or Pause; otherwise it is the declared one
	Paused        bool          // Resized to 0
	Override      Override      // where Resized
	OtherDeclared int           // the capacity that the process with the latest grant declared; 0: none yet
	OtherTTL      time.Duration // and its TTL

	Held        int       // permits that count against the capacity
	NextExpiry  time.Time // of these, unless it is renewed; zero: none is held
	Places      int       // in the shared queue
	Callers     int       // that wait; at least Places. Of a long queue it counts those of the first hundred places exactly
	FirstSince  time.Time // when the first of the queue whose process lives began to wait; zero: nobody
	FirstWeight int       // and how many permits it wants
}

// Summaries looks at many semaphores at once, each by one script that reads a few counts, in pipelines of 200. It writes
// nothing. It waits for Redis, and ctx bounds it. It may be used concurrently.
//
// The result has one entry for each name, in their order. What stands in the way of one name, such as a key of another
// type, is in that entry's Err; what stands in the way of all of them is the error.
func (m *Manager) Summaries(ctx context.Context, names ...string) ([]Summary, error) {
	keys := make([]*scripts.Keys, len(names))
	for i, name := range names {
		s, err := m.named(name)
		if err != nil {
			return nil, err
		}
		keys[i] = s.keys
	}
	if m.isClosed() {
		return nil, ErrClosed
	}
	all := make([]Summary, len(names))
	var failure error
	failed := 0
	m.transport.Scripts(ctx, keys, scripts.Summarize, func(i int, reply []any, err error) {
		var r scripts.Summary
		if err == nil {
			r, err = scripts.SummarizeReply(reply)
		}
		if err != nil {
			all[i] = Summary{Name: names[i], Err: &RedisError{Op: scripts.Summarize.String(), Name: names[i], Err: err}}
			failed++
			failure = all[i].Err
			return
		}
		all[i] = summaryOf(names[i], r)
	})
	if failed > 0 && failed == len(names) {
		return nil, failure
	}
	return all, nil
}

func summaryOf(name string, r scripts.Summary) Summary {
	s := Summary{
		Name: name, ServerTime: time.UnixMicro(r.ServerTime), Capacity: int(r.OtherCapacity), OtherDeclared: int(r.OtherCapacity),
		OtherTTL: time.Duration(r.OtherTTL) * time.Millisecond, Held: int(r.Held), Places: int(r.Places), Callers: int(r.Callers),
		FirstWeight: int(r.FirstWeight),
	}
	if r.Override >= 0 {
		s.Capacity, s.Resized, s.Paused, s.Override = int(r.Override), true, r.Override == 0, overrideOf(r.Change)
	}
	if r.NextExpiry > 0 {
		s.NextExpiry = time.UnixMilli(r.NextExpiry)
	}
	if r.FirstArrival > 0 {
		s.FirstSince = time.UnixMicro(r.FirstArrival)
	}
	return s
}
