package lease

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var sources embed.FS

// A script is one verb's Lua, with the shared parts that it needs in front.
type script struct {
	source, sha string
}

func load(parts ...string) *script {
	var s script
	for _, part := range parts {
		b, err := sources.ReadFile("scripts/" + part + ".lua")
		if err != nil {
			panic(err) // the file is embedded: the name is wrong
		}
		s.source += string(b)
	}
	sum := sha1.Sum([]byte(s.source))
	s.sha = hex.EncodeToString(sum[:])
	return &s
}

// A release needs no script: it is a ZREM.
var scripts = [...]*script{
	renew:   load("now", "renew"),
	acquire: load("now", "acquire"),
}

// keys are what the scripts are called with for one semaphore, boxed once: its Redis keys and its limits.
type keys struct{ holders, fence, ttl, capacity any }

func keysOf(prefix string, cfg Config) *keys {
	k := prefix + "-" + cfg.Name
	return &keys{holders: k, fence: "{" + k + "}:fence", ttl: cfg.TTL.Milliseconds(), capacity: cfg.Capacity}
}

const (
	maxFlights = 4    // pipelines at a time
	maxStuck   = 32   // more that were given up and have not come back
	maxCalls   = 1000 // in one pipeline
)

// A wire carries exchanges to Redis and back, many desks' in one pipeline, and is the only place that
// runs scripts. A lone exchange goes straight out. While maxFlights pipelines are under way, the next
// exchanges gather and share the next one, so that batches come by themselves under load.
// Safe for concurrent use.
type wire struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // client, if it is one
	server  func(addr string) *serverTime
	ctx     context.Context // ends when the manager is closed
	bounded bool            // a context bounds the client's calls

	mu      sync.Mutex
	ready   []*conversation // with something to send
	flying  int
	stuck   int
	idle    []*flight
	closed  bool
	flights sync.WaitGroup
}

// A flight is one goroutine that carries pipelines, one after the other.
type flight struct {
	wire     *wire
	stuck    bool // guarded by wire.mu: a desk gave this trip up
	trip     int  // guarded by wire.mu, written by its own goroutine only
	legs     []leg
	outgoing []outgoing
}

type leg struct {
	conversation *conversation
	exchange     *exchange
}

// send carries c's exchange, now or with the next pipeline. inline: the calling goroutine carries it,
// if it can go at once.
func (w *wire) send(c *conversation, inline bool) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	if w.flying >= maxFlights || w.stuck >= maxStuck {
		w.ready = append(w.ready, c)
		w.mu.Unlock()
		return
	}
	inline = inline && len(w.ready) == 0
	w.ready = append(w.ready, c)
	f := w.flightLocked()
	w.mu.Unlock()
	if !inline {
		go f.run(false)
		return
	}
	f.run(true)
}

// flightLocked returns a flight that is not used, and counts it.
func (w *wire) flightLocked() *flight {
	w.flying++
	w.flights.Add(1)
	if n := len(w.idle) - 1; n >= 0 {
		f := w.idle[n]
		w.idle = w.idle[:n]
		return f
	}
	return &flight{wire: w}
}

// run carries what is ready until nothing is, or until its pipeline was given up: then another flight
// has taken its place. once: what is left goes to another goroutine.
func (f *flight) run(once bool) {
	w := f.wire
	defer w.flights.Done()
	for first := true; ; first = false {
		if !once {
			// The callers that the last replies woke run first: what they ask for goes along. Without
			// this, the first of them leaves alone and the others wait for the next trip.
			runtime.Gosched()
		}
		w.mu.Lock()
		f.trip++
		if f.stuck {
			w.stuck--
			f.stuck = false
			if w.flying >= maxFlights {
				w.mu.Unlock()
				return
			}
			w.flying++
		}
		n := min(len(w.ready), maxCalls)
		if n == 0 || w.closed {
			w.flying--
			w.idle = append(w.idle, f)
			w.mu.Unlock()
			return
		}
		if once && !first {
			w.flights.Add(1)
			w.mu.Unlock()
			go f.run(false)
			return
		}
		batch := w.ready[:n:n]
		if w.ready = w.ready[n:]; len(w.ready) == 0 {
			w.ready = nil
		}
		w.mu.Unlock()
		f.carry(batch)
	}
}

// giveUp takes a trip of f off the pipelines that count: it may hang for as long as the client lets it.
func (w *wire) giveUp(f *flight, trip int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.stuck || f.trip != trip {
		return // by another desk, or it came back meanwhile
	}
	f.stuck = true
	w.flying--
	w.stuck++
	if len(w.ready) > 0 && !w.closed && w.stuck < maxStuck {
		go w.flightLocked().run(false)
	}
}

// carry takes one exchange of each conversation to Redis and back.
func (f *flight) carry(batch []*conversation) {
	f.legs = f.legs[:0]
	for _, c := range batch {
		if ex := c.depart(f); ex != nil {
			f.legs = append(f.legs, leg{conversation: c, exchange: ex})
		}
	}
	if len(f.legs) == 0 {
		return
	}
	if f.wire.cluster == nil {
		f.deliver(f.legs, f.wire.server(""))
		return
	}
	// One pipeline for each node: a dead one cannot hold up the answers of the living.
	ctx, cancel := f.wire.attempt(f.legs)
	defer cancel()
	nodes := map[string][]leg{}
	for _, l := range f.legs {
		addr := ""
		if node, err := f.wire.cluster.MasterForKey(ctx, l.conversation.keys.holders.(string)); err == nil {
			addr = node.Options().Addr
		}
		nodes[addr] = append(nodes[addr], l)
	}
	var others sync.WaitGroup
	for addr, legs := range nodes {
		others.Go(func() {
			g := &flight{wire: f.wire}
			g.deliver(legs, f.wire.server(addr))
		})
	}
	others.Wait()
}

// deliver runs the calls of legs in one pipeline and hands each desk what came of its own.
func (f *flight) deliver(legs []leg, server *serverTime) {
	ctx, cancel := f.wire.attempt(legs)
	defer cancel()
	f.outgoing = f.outgoing[:0]
	for _, l := range legs {
		for i := range l.exchange.calls {
			f.outgoing = append(f.outgoing, outgoing{conversation: l.conversation, exchange: l.exchange, call: &l.exchange.calls[i]})
		}
	}
	execute(ctx, f.wire.client, f.outgoing)
	for _, l := range legs {
		l.conversation.arrive(l.exchange, server)
	}
	clear(f.outgoing)
	clear(legs)
}

// attempt bounds what the client does for legs, where the client lets a context bound it. Where it does
// not, the desks give up by themselves; a request then leaves the client the time for its own retries,
// whose error says more than a deadline.
func (w *wire) attempt(legs []leg) (context.Context, context.CancelFunc) {
	var longest time.Duration
	for _, l := range legs {
		d := l.conversation.desk.cfg.TTL / 8
		if !w.bounded && l.exchange.calls[0].verb == acquire {
			d *= 4
		}
		longest = max(longest, d)
	}
	return context.WithTimeout(w.ctx, longest)
}

// isBounded reports whether a context bounds the client's calls.
func isBounded(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	}
	return false
}

// close refuses what is ready and cancels what is under way.
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.ready = true, nil
}

// wait returns when nothing is under way any more. A call that the client does not let a context end
// lasts until the client's own timeouts end it.
func (w *wire) wait() { w.flights.Wait() }

// An outgoing call knows whose it is.
type outgoing struct {
	conversation *conversation
	exchange     *exchange
	call         *call
	cmd          redis.Cmder
}

// execute runs calls in order and fills in their replies. A server that does not know a script says
// NOSCRIPT; the calls then go on from the first that failed, in order, and carry the source. Those that
// run twice by that find their work done: every script is safe against it.
func execute(ctx context.Context, client redis.UniversalClient, calls []outgoing) {
	const passes = 3 // a server may restart between two of them
	for pass := 1; ; pass++ {
		var loaded [len(scripts)]bool
		for i := range calls {
			v := calls[i].call.verb
			source := pass > 1 && !loaded[v]
			loaded[v] = true
			calls[i].cmd = calls[i].command(ctx, source)
		}
		if len(calls) == 1 {
			_ = client.Process(ctx, calls[0].cmd)
		} else {
			pipe := client.Pipeline()
			for i := range calls {
				_ = pipe.Process(ctx, calls[i].cmd)
			}
			_, _ = pipe.Exec(ctx)
		}
		missing := -1
		for i := range calls {
			calls[i].finish()
			if err := calls[i].call.err; missing < 0 && err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
				missing = i
			}
		}
		if missing < 0 || pass == passes {
			return
		}
		calls = calls[missing:]
	}
}

// command is the call as Redis wants it: with the script's name, or with its source.
func (o *outgoing) command(ctx context.Context, source bool) redis.Cmder {
	if o.call.verb == release {
		args := make([]any, 0, 2+len(o.call.grants))
		args = append(args, "zrem", o.conversation.keys.holders)
		for _, g := range o.call.grants {
			args = append(args, g.id)
		}
		return redis.NewIntCmd(ctx, args...)
	}
	s, k := scripts[o.call.verb], o.conversation.keys
	args := make([]any, 0, 8+len(o.call.grants))
	if source {
		args = append(args, "eval", s.source)
	} else {
		args = append(args, "evalsha", s.sha)
	}
	switch o.call.verb {
	case renew:
		args = append(args, 1, k.holders, k.ttl)
	case acquire:
		args = append(args, 2, k.holders, k.fence, k.ttl, k.capacity, o.exchange.notAfter)
	}
	for _, g := range o.call.grants {
		args = append(args, g.id)
	}
	return redis.NewIntSliceCmd(ctx, args...)
}

// finish takes the command's answer over.
func (o *outgoing) finish() {
	c := o.call
	switch c.err = o.cmd.Err(); {
	case c.err != nil:
		if denied(c.err) {
			c.err = scripts[c.verb].name(c.err)
		}
	case c.verb != release:
		c.reply = o.cmd.(*redis.IntSliceCmd).Val()
		c.err = checkReply(c)
	}
}

// denied reports whether the Redis user may not run a command of a script. Redis 7 names the line of
// the script, and not the command.
func denied(err error) bool {
	return strings.Contains(err.Error(), "user executing the script can't run")
}

var (
	scriptLine = regexp.MustCompile(`user_script:(\d+)`)
	scriptCall = regexp.MustCompile(`redis\.p?call\('(\w+)'`)
)

// name adds to such an error the command that stands in its line.
func (s *script) name(err error) error {
	command := "a command of the script"
	if at := scriptLine.FindStringSubmatch(err.Error()); at != nil {
		n, _ := strconv.Atoi(at[1])
		if lines := strings.Split(s.source, "\n"); n >= 1 && n <= len(lines) {
			if call := scriptCall.FindStringSubmatch(lines[n-1]); call != nil {
				command = call[1]
			}
		}
	}
	return fmt.Errorf("NOPERM %s: %w", command, err)
}

// checkReply refuses a reply that is not what the script's header promises.
func checkReply(c *call) error {
	n, ok := len(c.reply), false
	switch c.verb {
	case renew:
		ok = n >= 2
	case acquire:
		ok = n == 5+2*len(c.grants) || n == 5 && c.reply[1] == 1
	}
	if !ok {
		return fmt.Errorf("unexpected reply to %v: %v", c.verb, c.reply)
	}
	return nil
}
