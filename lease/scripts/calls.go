package scripts

import "time"

// Keys are what the scripts of one semaphore are called with, boxed once: how many keys, the keys, the TTL in ms and
// the capacity; and the keys that few calls need. include/shared.lua says what each is.
type Keys [10]any

// KeysOf returns the keys of a semaphore, and what its caller declares.
func KeysOf(prefix, name string, ttl time.Duration, capacity int) *Keys {
	tag := "{" + prefix + "-" + name + "}:"
	fence := tag + "fence"
	holders := fence[1 : len(tag)-2]
	return &Keys{5, holders, fence, tag + "queue", tag + "alive", tag + "config", ttl.Milliseconds(), capacity, tag + "callers", tag + "slots"}
}

// Holders is the key of the sorted set.
func (k *Keys) Holders() any { return k[1] }

// Queue is the key of the queue.
func (k *Keys) Queue() any { return k[3] }

// Command begins the arguments of a command that runs v: with the script's name, or its source where the server does
// not know it. What is particular to the verb is to be appended; what differs from call to call goes in as a pointer,
// which go-redis follows, so that nothing has to be boxed. callers and slots say that the call has to do with these keys, as
// an inspect, a summary and a resize always have.
func (k *Keys) Command(args []any, v Verb, withSource, callers, slots bool) []any {
	args = appendScript(args, v, withSource)
	if v == Renew {
		// The holders alone: while a slot moves, a server of a Cluster carries out no call that names a key which it
		// does not have.
		return append(args, 1, k[1], k[6], k[7])
	}
	switch {
	case slots || v == Inspect || v == Resize || v == Summarize:
		return append(append(append(args, 7), k[1:6]...), k[8], k[9], k[6], k[7])
	case callers:
		return append(append(append(args, 6), k[1:6]...), k[8], k[6], k[7])
	default:
		return append(args, k[:8]...)
	}
}

func appendScript(args []any, v Verb, withSource bool) []any {
	if withSource {
		return append(args, "eval", all[v].source)
	}
	return append(args, "evalsha", all[v].boxed)
}

// AppendAcquire appends what an acquire has in front of its requests: until when it may run and behind which place the
// others stand, both in µs of the server's clock, and its flags. Each request follows by AppendRequest.
func AppendAcquire(args []any, notAfter *int64, flags int, afterPlace *int64) []any {
	return append(args, notAfter, flags, afterPlace)
}

// AppendRequest appends one request of an acquire: its id, and for how many µs it has waited; nil: it does not wait.
func AppendRequest(args []any, id *string, age *int64) []any {
	if age == nil {
		return append(args, id, "")
	}
	return append(args, id, age)
}

// AppendAgain appends an id that is held, to be granted anew. These come after all requests.
func AppendAgain(args []any, id *string) []any { return append(args, id, "=") }

// RenewManyCommand begins the arguments of a command that renews a few permits of many semaphores, all of the same TTL in ms.
// For each follow how many ids, and the ids.
func RenewManyCommand(args []any, withSource bool, all []*Keys, ttl *int64) []any {
	args = append(appendScript(args, RenewMany, withSource), len(all))
	for _, k := range all {
		args = append(args, k.Holders())
	}
	return append(args, ttl)
}

// InspectArguments ask for a page: the ranks of the first holder and of the first waiter to show, negative for none, and
// how many of each.
func InspectArguments(holders, waiters, count int) []any { return []any{holders, waiters, count} }

// ResizeArguments set the capacity for the fleet, as by says and for a reason.
func ResizeArguments(capacity int, by, reason string) []any { return []any{capacity, by, reason} }

// PauseArguments set it to 0 until it is resumed.
func PauseArguments(by, reason string) []any { return []any{"pause", by, reason} }

// ResumeArguments set it to what it was before it was paused.
func ResumeArguments(by string) []any { return []any{"resume", by, ""} }

// PromoteArguments change nothing: they go on with what a resize has made room for.
func PromoteArguments() []any { return []any{"more", "", ""} }

// ResetArguments remove what was set: what processes declare counts again.
func ResetArguments() []any { return []any{"", "", ""} }

// RevokeArguments name the grant to take away.
func RevokeArguments(id string) []any { return []any{id} }

// AcquireFlags are among an acquire's arguments.
//
//   - refresh has it see to the lifetime of the queue.
//   - uneven says that some ids weigh more than 1, or are to be granted anew, or that there are slots.
//   - strict has it refuse while somebody holds or waits who declares another capacity or TTL.
//   - narrow says that others who wait in the process go by a larger capacity: a request of its own is not too heavy for
//     not fitting into this one.
//   - standing says how many of the ids, the first, have a place in the queue; at most 1,023.
//   - callers is how many callers of the process wait, where the call names the key for it.
func AcquireFlags(refresh, uneven, strict, narrow bool, standing, callers int) int {
	return bit(refresh, 1) | bit(uneven, 2) | bit(strict, 4) | bit(narrow, 8) | 16*standing | 16384*callers
}

// ReleaseFlags are release's third argument, before the ids.
//
//   - queued says that some of the ids may be in the queue.
//   - promote has it give what is free to those who wait.
//   - empty says that there are no ids.
func ReleaseFlags(queued, promote, empty bool) int {
	return bit(queued, 1) | bit(promote, 2) | bit(empty, 4)
}

func bit(set bool, bit int) int {
	if set {
		return bit
	}
	return 0
}
