package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

func TestTroubleThatPassesIsNotPermanent(t *testing.T) {
	for _, tc := range []struct {
		err       error
		permanent bool
	}{
		{io.EOF, false},
		{context.DeadlineExceeded, false},
		{protocol.ErrNoReply, false},
		{redisError("LOADING Redis is loading the dataset in memory"), false},
		{redisError("READONLY You can't write against a read only replica."), false},
		{redisError("TRYAGAIN Multiple keys request during rehashing of slot"), false},
		{redisError("CLUSTERDOWN The cluster is down"), false},
		{redisError("MASTERDOWN Link with MASTER is down"), false},
		{redisError("BUSY Redis is busy running a script."), false},
		{redisError("MISCONF Redis is configured to save RDB snapshots"), false},
		{redisError("OOM command not allowed when used memory > 'maxmemory'."), false},
		{redisError("NOREPLICAS Not enough good replicas to write."), false},
		{redisError("NOSCRIPT No matching script."), false},
		{redisError("ERR max number of clients reached"), false},
		{redisError("ERR Error running script (call to f_1): @user_script:30: -READONLY You can't write"), false},
		{redisError("WRONGTYPE Operation against a key holding the wrong kind of value"), true},
		{redisError("NOPERM this user has no permissions to run the 'evalsha' command"), true},
		{fmt.Errorf("NOPERM ZADD: %w", redisError("ERR The user executing the script can't run this command")), true},
		{redisError("NOAUTH Authentication required."), true},
		{redisError("WRONGPASS invalid username-password pair"), true},
		{redisError("ERR unknown command 'ZMSCORE'"), true},
		{redis.ErrClosed, true},
	} {
		if got := isPermanent(tc.err); got != tc.permanent {
			t.Errorf("%v: permanent = %v, want %v", tc.err, got, tc.permanent)
		}
	}
}

// The words are those of Redis 7.0.15 (as before 7.2), Redis 8.0.2 and Valkey 8.1.1, where they say the same.
func TestDeniedPermissionIsRecognisedInTheWordsOfEveryServer(t *testing.T) {
	for _, words := range []string{
		"NOPERM this user has no permissions to run the 'evalsha' command",
		"NOPERM this user has no permissions to access one of the keys used as arguments",
		"NOPERM this user has no permissions to access one of the channels used as arguments",
		"NOPERM User u has no permissions to run the 'evalsha' command",
		"NOPERM No permissions to access a key",
		"NOPERM No permissions to access a channel",
		"NOPERM User READONLY has no permissions to run the 'evalsha' command", // which is a name here
	} {
		mustBeDenied(t, redisError(words), words)
		if got := explain(scripts.Acquire, redisError(words)); got != redisError(words) {
			t.Errorf("%q: it is no command of the script that is denied, but %v", words, got)
		}
	}

	line := 0
	for i, text := range strings.Split(scripts.Acquire.Source(), "\n") {
		if strings.Contains(text, "redis.call('ZCARD'") {
			line = i + 1
			break
		}
	}
	const sha = "37df4df413367c4b19e0d18a348b4e33caf764e6"
	at := fmt.Sprintf(" script: %s, on @user_script:%d.", sha, line)
	for _, words := range []string{
		"ERR The user executing the script can't run this command or subcommand" + at,
		"ERR The user executing the script can't access at least one of the keys mentioned in the command arguments" + at,
		"ERR The user executing the script can't publish to the channel mentioned in the command" + at,
		"ERR ACL failure in script: User u has no permissions to run the 'zcard' command" + at,
		"ERR ACL failure in script: No permissions to access a key" + at,
		"ERR ACL failure in script: No permissions to access a channel" + at,
		"ERR ACL failure in script: User BUSY has no permissions to run the 'zcard' command" + at,
		// 6.2 puts the line in front.
		fmt.Sprintf("ERR Error running script (call to f_%s): @user_script:%d: The user executing the script can't run this command or subcommand", sha, line),
	} {
		mustBeDenied(t, redisError(words), words)
		err := explain(scripts.Acquire, redisError(words))
		if !errors.Is(err, redisError(words)) {
			t.Errorf("%v does not lead to the client's error", err)
		}
		mustBeDenied(t, err, "ZCARD")
	}
}

// mustBeDenied wants err to be one that waiting does not mend, and to say words.
func mustBeDenied(t *testing.T, err error, words string) {
	t.Helper()
	if !IsDenied(err) || !isPermanent(err) || isTransient(err) || IsMoved(err) {
		t.Errorf("%v: denied = %v, permanent = %v, transient = %v, moved = %v", err, IsDenied(err), isPermanent(err), isTransient(err), IsMoved(err))
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("%v does not say %q", err, words)
	}
}

type redisError string

func (e redisError) Error() string { return string(e) }
func (e redisError) RedisError()   {}

var _ redis.Error = redisError("")

// Who asks for the first time waits for what passes by itself, and is told of what may last until somebody acts.
func TestFirstCallerIsToldOfTroubleThatMayLast(t *testing.T) {
	for words, passing := range map[redisError]bool{
		"LOADING Redis is loading the dataset in memory":                       true,
		"READONLY You can't write against a read only replica.":                true,
		"TRYAGAIN Multiple keys request during rehashing of slot":              true,
		"ASK 13009 127.0.0.1:7001":                                             true,
		"CLUSTERDOWN The cluster is down":                                      true,
		"MASTERDOWN Link with MASTER is down":                                  true,
		"BUSY Redis is busy running a script.":                                 true,
		"OOM command not allowed when used memory > 'maxmemory'.":              false,
		"MISCONF Redis is configured to save RDB snapshots":                    false,
		"NOREPLICAS Not enough good replicas to write.":                        false,
		"ERR max number of clients reached":                                    false,
		"NOPERM User READONLY has no permissions to run the 'evalsha' command": false,
		"WRONGTYPE Operation against a key holding the wrong kind of value":    false,
	} {
		if f := failureOf(words); f.Passing != passing || f.Passing && f.Permanent {
			t.Errorf("%s: %+v", words, f)
		}
	}
}
