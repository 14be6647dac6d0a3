package lease

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/*.lua
var sources embed.FS

// A script is one verb's Lua, with the shared parts that it needs in front.
type script struct {
	source, sha string
	evalsha     any // sha, boxed once
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
	s.evalsha = s.sha
	return &s
}

var scripts = [...]*script{
	release: load("shared", "permits", "release", "clock", "next_waiter", "longest", "grant", "promote", "then_promote"),
	renew:   load("shared", "clock", "permits", "renew"),
	acquire: load("shared", "clock", "uncontended", "permits", "longest", "grant", "promote", "acquire"),
	inspect: load("shared", "clock", "inspect"),
	resize:  load("shared", "clock", "permits", "resize", "longest", "grant", "promote", "then_promote"),
	revoke:  load("shared", "clock", "permits", "longest", "grant", "promote", "revoke"),
}

// keys are what the scripts are called with for one semaphore, boxed once: how many keys, its Redis keys,
// its TTL in ms and its capacity. scripts/shared.lua says what each is.
type keys [8]any

func keysOf(prefix string, cfg Config) *keys {
	tag := "{" + prefix + "-" + cfg.Name + "}:"
	fence := tag + "fence"
	holders := fence[1 : len(tag)-2]
	return &keys{5, holders, fence, tag + "queue", tag + "alive", tag + "config", cfg.TTL.Milliseconds(), cfg.Capacity}
}

func (k *keys) holders() any { return k[1] }
func (k *keys) queue() any   { return k[3] }

// ofHolders are the keys and first arguments of a script that touches the holders alone: while a slot moves, a server
// of a Cluster carries out no call that names a key which it does not have.
func (k *keys) ofHolders() []any { return []any{1, k[1], k[6], k[7]} }

// An outgoing call knows whose it is.
type outgoing struct {
	conversation *conversation
	exchange     *exchange
	call         *call
	zrem         *redis.IntCmd // a plain release: takes the ids out, before cmd
	cmd          redis.Cmder   // the script, or what a plain release does instead; nil: nothing
}

// A processor runs one command: a client, or one of its connections.
type processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// execute runs calls in order and fills in their replies. A server that does not know a script says
// NOSCRIPT; the calls then go on from the first that failed, in order, and carry the source. Those that
// run twice by that find their work done: every script is safe against it.
func execute(ctx context.Context, client processor, pipe redis.Pipeliner, calls []outgoing) {
	const passes = 3 // a server may restart between two of them
	for pass := 1; ; pass++ {
		var loaded [len(scripts)]bool
		for i := range calls {
			o := &calls[i]
			if o.plainRelease(ctx) {
				continue
			}
			v := o.call.verb
			source := pass > 1 && !loaded[v]
			loaded[v] = true
			o.cmd = o.command(ctx, source)
		}
		if len(calls) == 1 && calls[0].zrem == nil {
			_ = client.Process(ctx, calls[0].cmd)
		} else {
			for i := range calls {
				if calls[i].zrem != nil {
					_ = pipe.Process(ctx, calls[i].zrem)
				}
				if calls[i].cmd != nil {
					_ = pipe.Process(ctx, calls[i].cmd)
				}
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

// command is the call as Redis wants it: with the script's name, or with its source. What differs from call
// to call is passed as pointers, which go-redis follows: so nothing has to be boxed.
func (o *outgoing) command(ctx context.Context, source bool) redis.Cmder {
	c, k := o.call, o.conversation.keys
	args := make([]any, 0, 2+len(k)+3+2*len(c.grants))
	args = scripts[c.verb].start(args, source)
	if c.verb == renew {
		args = append(args, k.ofHolders()...)
	} else {
		args = append(args, k[:]...)
	}
	switch c.verb {
	case renew:
		args = append(args, c.renewFlags())
	case release:
		args = append(args, c.releaseFlags())
	case acquire:
		args = append(args, &o.exchange.notAfter, c.acquireFlags(), &c.behind)
	}
	for i, g := range c.grants {
		if o.zrem != nil {
			break // which has taken them out
		}
		args = append(args, &g.id)
		if c.verb == acquire {
			args = append(args, c.age(i))
		}
	}
	return routed(redis.NewIntSliceCmd(ctx, args...))
}

// routed tells go-redis that nothing has to be looked up to route cmd by its keys. A cluster client asks a
// node that it chooses at random for the table of all COMMANDs before the first command that it sends alone;
// where that node hangs, all others wait for it.
func routed[C redis.Cmder](cmd C) C {
	cmd.SetStepCount(1)
	return cmd
}

// plainRelease takes the ids of a release out with a command of their own, at a fifth of a script's cost to Redis.
// It reports whether that is all: where nobody seems to wait, it asks whether that is so, and promoting takes
// another trip if not; and where an acquire follows, that promotes.
//
// Where the script promotes, it helps all the same: a server answers last whom it has answered first, so the
// waiter's push leaves before the answer to the release does.
func (o *outgoing) plainRelease(ctx context.Context) (done bool) {
	o.zrem, o.cmd = nil, nil
	c, k := o.call, o.conversation.keys
	if !c.plain() {
		return false
	}
	args := append(make([]any, 0, 2+len(c.grants)), "zrem", k.holders())
	for _, g := range c.grants {
		args = append(args, &g.id)
	}
	o.zrem = redis.NewIntCmd(ctx, args...)
	if c.look {
		o.cmd = redis.NewIntCmd(ctx, "exists", k.queue())
	}
	return !c.promote
}

// start begins the arguments of a command that runs s.
func (s *script) start(args []any, source bool) []any {
	if source {
		return append(args, "eval", s.source)
	}
	return append(args, "evalsha", s.evalsha)
}

// acquireFlags are acquire.lua's.
func (c *call) acquireFlags() (flags int) {
	flags = 4 * c.stood
	if c.refresh {
		flags |= 1
	}
	if c.permits > len(c.grants) {
		flags |= 2
	}
	return flags
}

// renewFlags are renew.lua's.
func (c *call) renewFlags() int {
	if c.setBack {
		return 1
	}
	return 0
}

// releaseFlags are release.lua's.
func (c *call) releaseFlags() (flags int) {
	if c.queued {
		flags |= 1
	}
	if c.promote {
		flags |= 2
	}
	if len(c.grants) == 0 {
		flags |= 4
	}
	return flags
}

// age is for how many µs the i-th request has waited, as acquire.lua wants it.
func (c *call) age(i int) any {
	if c.ages[i] == once {
		return ""
	}
	return &c.ages[i]
}

// finish takes the commands' answers over.
func (o *outgoing) finish() {
	c := o.call
	if o.zrem != nil {
		c.removed += int(o.zrem.Val()) // a second pass finds nothing any more
	}
	if c.err = o.trouble(); c.err != nil {
		if o.zrem != nil && o.zrem.Err() == nil && isTransient(c.err) {
			// The permits are back. Only the server cannot promote now: its slot moves, or its memory is full.
			c.err, c.unpromoted, c.reply = nil, true, c.short[:]
			return
		}
		c.err = scripts[c.verb].explain(c.err)
		return
	}
	switch cmd := o.cmd.(type) {
	case *redis.IntSliceCmd:
		c.reply = cmd.Val()
		c.err = checkReply(c)
	case *redis.IntCmd:
		c.short[0] = statusMore * cmd.Val()
		c.reply = c.short[:]
	default:
		c.reply = c.short[:]
	}
}

// trouble is the first error of the commands.
func (o *outgoing) trouble() error {
	if o.zrem != nil && o.zrem.Err() != nil {
		return o.zrem.Err()
	}
	if o.cmd != nil {
		return o.cmd.Err()
	}
	return nil
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

// explain adds to an error about permissions the command that stands in the script's line.
func (s *script) explain(err error) error {
	if !denied(err) {
		return err
	}
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
	case release:
		ok = n == 1
	case renew:
		ok = n >= 3
	case acquire:
		want := 2
		if n >= 2 && c.reply[1]&statusLate == 0 {
			want += 2 * len(c.grants)
		}
		if n >= 2 && c.reply[1]&statusDetails != 0 {
			want += details
		}
		ok = n == want
	}
	if !ok {
		return fmt.Errorf("unexpected reply to %v: %v", c.verb, c.reply)
	}
	return nil
}
