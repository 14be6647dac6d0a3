package transport

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// Bounds of a joint renewal: of its script's loops, and of the time for which the server serves nobody else.
const (
	mostJoined  = 200 // semaphores
	mostPermits = 500
)

// A joint is the renewals of many semaphores, in one call: to Redis and to the client a call costs several times what a renewal
// does in it. What the script leaves over, and what a server refuses as a whole, goes by itself, as if there had been no
// joint. A server that takes no keys of several slots in a call gets no other: a node of a Cluster, which the client is not
// told of. It says so at once, or when a slot moves, and then go-redis repeats the whole pipeline before it gives up.
type joint struct {
	ttl      int64 // ms
	permits  int
	requests []*request
	cmd      *redis.IntSliceCmd
}

// mayJoin reports whether r is a renewal that need not go by itself.
func (r *request) mayJoin() bool {
	c := r.call
	return c.Verb == protocol.Renew && !r.alone && !c.Lifetime && c.TTL > 0 && c.Permits <= mostPermits/2
}

// join puts renewals together that have the same TTL. A renewal that finds no other stays alone.
func join(requests []request) {
	var open []*joint // one for each TTL
	for i := range requests {
		r := &requests[i]
		r.joint, r.again, r.refused = nil, false, false
		if !r.mayJoin() {
			continue
		}
		at := slices.IndexFunc(open, func(j *joint) bool { return j.ttl == r.call.TTL })
		switch {
		case at < 0:
			at = len(open)
			open = append(open, &joint{ttl: r.call.TTL})
		case len(open[at].requests) == mostJoined || open[at].permits+r.call.Permits > mostPermits:
			open[at].part()
			open[at] = &joint{ttl: r.call.TTL}
		}
		j := open[at]
		r.joint = j
		j.requests = append(j.requests, r)
		j.permits += r.call.Permits
	}
	for _, j := range open {
		j.part()
	}
}

// part lets a single request go alone.
func (j *joint) part() {
	if len(j.requests) == 1 {
		j.requests[0].joint = nil
	}
}

// leads reports whether j is sent in the place of r.
func (j *joint) leads(r *request) bool { return j.requests[0] == r }

// prepare makes the command.
func (j *joint) prepare(ctx context.Context, source bool, room *room) {
	keys := make([]*scripts.Keys, len(j.requests))
	for i, r := range j.requests {
		keys[i] = r.keys
	}
	from := len(room.args)
	args := scripts.RenewManyCommand(room.args, source, keys, &j.ttl)
	for _, r := range j.requests {
		args = append(args, len(r.call.Grants))
		for _, g := range r.call.Grants {
			args = append(args, &g.ID)
		}
	}
	room.args = args
	j.cmd = routed(redis.NewIntSliceCmd(ctx, room.cut(from)...))
}

// finish takes the command's answer over. whole is why all commands failed, as for a request.
func (j *joint) finish(whole error) {
	err := cmp.Or(whole, j.cmd.Err())
	var answer redis.Error
	answered := whole == nil && (err == nil || errors.As(err, &answer))
	// What passes by itself, and what concerns the connection, would be said to each of them alone, too; but while a slot
	// moves, a call with a single key is carried out.
	forAll := IsLogin(err) || isPassing(err) && !redis.HasErrorPrefix(err, "TRYAGAIN")
	var reply scripts.RenewedMany
	if err == nil {
		reply, err = scripts.RenewManyReply(j.cmd.Val(), len(j.requests), j.ttl)
	}
	for _, r := range j.requests {
		c := r.call
		c.Failure = failureOf(err)
		c.Server, c.Expiry, c.Lost = reply.ServerTime, reply.Expiry, nil
		r.again = answered && err != nil && !forAll
		r.refused = r.again && (redis.HasErrorPrefix(err, "CROSSSLOT") || redis.HasErrorPrefix(err, "TRYAGAIN"))
	}
	for _, n := range reply.Freed {
		j.requests[n-1].call.More = true
	}
	for _, n := range reply.Left {
		j.requests[n-1].again = true
	}
}
