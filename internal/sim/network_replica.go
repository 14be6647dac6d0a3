package sim

import (
	"maps"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// SetReplicas gives the server so many replicas, some of which acknowledge at once what is written, and the others not at all:
// WAIT answers without waiting. A server without replicas answers 0.
func (n *Network) SetReplicas(replicas, acknowledging int) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.replicas, n.acknowledging = replicas, acknowledging
}

// A Replica has the data of the server as they were when it stopped to follow it.
type Replica struct {
	network *Network
	keys    map[string]copied
}

// copied is one key, of one of these types.
type copied struct {
	text string
	hash map[string]string
	set  map[string]float64 // sorted
	ends time.Time          // zero: never
}

// StopReplica has the replicas follow the server no more: nothing is acknowledged from now on.
func (n *Network) StopReplica() *Replica {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.acknowledging = 0
	n.expire()
	r := &Replica{n, map[string]copied{}}
	for _, key := range n.redis.Keys() {
		var c copied
		switch n.redis.Type(key) {
		case "string":
			c.text, _ = n.redis.Get(key)
		case "hash":
			c.hash = map[string]string{}
			fields, _ := n.redis.HKeys(key)
			for _, f := range fields {
				c.hash[f] = n.redis.HGet(key, f)
			}
		case "zset":
			set, _ := n.redis.SortedSet(key)
			c.set = maps.Clone(set) // miniredis hands out its own
		}
		if left := n.redis.TTL(key); left > 0 {
			c.ends = n.time().Add(left)
		}
		r.keys[key] = c
	}
	return r
}

// TakeOver has the replica take the server's place, with all replicas following it. What was written since it stopped is lost.
// Connections are reset. then, if not nil, is called before the next request.
func (r *Replica) TakeOver(then func()) {
	n := r.network
	n.Restart(true)
	n.exec.Lock()
	defer n.exec.Unlock()
	n.expire()
	n.redis.FlushAll()
	for key, c := range r.keys {
		left := c.ends.Sub(n.time())
		if !c.ends.IsZero() && left <= 0 {
			continue
		}
		r.restore(n.redis, key, c)
		if !c.ends.IsZero() {
			n.redis.SetTTL(key, left)
		}
	}
	n.acknowledging = n.replicas
	if then != nil {
		then()
	}
}

func (r *Replica) restore(redis *miniredis.Miniredis, key string, c copied) {
	switch {
	case c.hash != nil:
		for f, v := range c.hash {
			redis.HSet(key, f, v)
		}
	case c.set != nil:
		for member, score := range c.set {
			_, _ = redis.ZAdd(key, score, member)
		}
	default:
		_ = redis.Set(key, c.text)
	}
}
