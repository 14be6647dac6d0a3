package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// failureOf says what an error of the client means to those who wait.
func failureOf(err error) protocol.Failure {
	if err == nil {
		return protocol.Failure{}
	}
	return protocol.Failure{Err: err, Permanent: isPermanent(err), Silent: IsTimeout(err), Passing: isPassing(err)}
}

// IsDenied reports whether the Redis user may not run a command, or not on these keys or this channel.
func IsDenied(err error) bool {
	return redis.HasErrorPrefix(err, "NOPERM") || deniedInScript(err)
}

// deniedInScript reports whether that is so for a command of a script. It comes with the code ERR, so the words have to
// tell: the first are those of Redis 7.2 and later and of Valkey, the others those of Redis before.
func deniedInScript(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && says(reply, []string{"ACL failure in script:", "The user executing the script can't "})
}

// isPermanent reports whether err will be the same at the next try, so that waiting is of no use.
// Everything else is transient, the network above all.
func isPermanent(err error) bool {
	if errors.Is(err, redis.ErrClosed) || IsDenied(err) {
		return true
	}
	var reply redis.Error
	if !errors.As(err, &reply) || says(reply, transient) {
		return false
	}
	return says(reply, []string{"WRONGTYPE", "NOAUTH", "WRONGPASS", "ERR "})
}

// transient are the words of a server that will soon think otherwise. Redis 6.2 wraps what a script's
// command answers into an ERR of its own, so that they may stand anywhere.
var transient = append(slices.Clone(passing), "MISCONF", "OOM ", "NOREPLICAS", "max number of clients")

// isPassing reports whether err passes by itself: a slot moves, a replica takes over, data are loaded, a script runs.
// Full memory, a disk that cannot be written and too many clients are transient too, but may last until somebody acts:
// a first caller is told of them.
func isPassing(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !IsDenied(err) &&
		(says(reply, passing) || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "MOVED"))
}

var passing = []string{"LOADING", "READONLY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "BUSY"}

// isTransient reports whether the server itself says that it will soon think otherwise.
func isTransient(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !IsDenied(err) &&
		(says(reply, transient) || redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "MOVED"))
}

// IsTimeout reports whether err says that there was no answer in time.
func IsTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// IsLogin reports whether the server refuses the user name or the password, or wants some.
func IsLogin(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && says(reply, []string{"WRONGPASS", "NOAUTH", "unauthenticated"})
}

// IsAway reports whether no server could be reached, or it says that it will soon think otherwise.
func IsAway(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted) || isTransient(err)
}

// IsMoved reports whether err says that another server is in charge, or will be.
func IsMoved(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !IsDenied(err) && says(reply, []string{"MOVED", "ASK ", "READONLY", "MASTERDOWN", "LOADING"})
}

func says(err error, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(err.Error(), w) })
}

var (
	scriptLine = regexp.MustCompile(`user_script:(\d+)`)
	scriptCall = regexp.MustCompile(`redis\.p?call\('(\w+)'`)
)

// explain adds to an error about permissions the command that stands in the script's line: Redis before 7.2 names the
// line alone, and no server names the command whose key or channel it denies.
func explain(v scripts.Verb, err error) error {
	if !deniedInScript(err) {
		return err
	}
	command := "a command of the script"
	if at := scriptLine.FindStringSubmatch(err.Error()); at != nil {
		n, _ := strconv.Atoi(at[1])
		if lines := strings.Split(v.Source(), "\n"); n >= 1 && n <= len(lines) {
			if call := scriptCall.FindStringSubmatch(lines[n-1]); call != nil {
				command = call[1]
			}
		}
	}
	return fmt.Errorf("NOPERM %s: %w", command, err)
}
