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
