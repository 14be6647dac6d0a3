// Package lease guards a resource that a whole fleet shares with a counting semaphore on Redis. A lease
// is a context: while a process holds a permit, the lease's context lives; the moment the permit can no
// longer be trusted, the context is cancelled and says why.
//
//	m, err := lease.Open("redis://localhost:6379", lease.Options{})
//	gpu, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 8})
//	l, err := gpu.Acquire(ctx)
//	defer l.Release()
//	err = work(l.Context())
//
// # What to use
//
//   - [Semaphore.Do] runs a function under a permit; [Semaphore.Acquire] and [Semaphore.TryAcquire] return
//     the [Lease].
//   - [Semaphore.Group] is an errgroup whose limit is the semaphore's, for the whole fleet.
//   - [Semaphore.Permit] is one permit for a process, shared by all who use it there: the object of PassBuddy
//     for Node, with [Bind].
//   - Package leasehttp is middleware for net/http: it gives each HTTP request a permit, and refuses requests over
//     the limit. It uses [MaxWait], [Lease.ReleaseNoWait], [Permit.UseWithin] and [Permit.ReleaseNoWait]; so can
//     middleware for other protocols.
//   - Package leasetest is for the tests of code that works under leases.
//
// # Life of a lease
//
// Acquire puts a permit into Redis that expires after the TTL, and a renewer moves its expiry on for as
// long as the lease is held. When the work's own context ends, the permit stays, renewed, until Release:
// teardown comes first, under [Lease.Held]. A holder that dies frees its permit by the TTL.
//
// # The trust window
//
// Expiry is decided by the clock of Redis, inside scripts. Each reply carries that clock's reading and
// the permit's expiry; their difference counts from the moment just before the call was sent, so that
// neither a slow reply nor another machine's clock can make a process trust a permit for too long. The
// window ends a Margin before that. Renewals begin after a third of the window and are repeated; each is
// given up after an eighth of the TTL, or two seconds, or twice what the server has lately needed, if that is more;
// half of the window at most. An answer that comes after that still counts. When none comes, the window's end cancels
// the contexts, by a timer that depends on nothing else.
//
// # Promises
//
// While Redis keeps its data and its clock does not jump, live contexts never add up to more than the
// capacity. A context is cancelled before Redis gives its permit away, also when Redis hangs, a
// connection is a black hole, or a call of the client never returns. Trouble shorter than a third of the
// TTL costs no lease. A lost lease never comes back. Err and context.Cause always have a reason. Nothing
// leaks: what a cancelled acquire or a lost reply may have taken goes back with the next call, and
// after one TTL at the latest.
//
// # Not promised
//
// Exclusion across a failover that loses acknowledged writes; across a step of the server's clock, until the
// next call (see below); when Redis evicts keys (maxmemory-policy must be noeviction); and for a paused
// process, between its waking up and its noticing. Where that matters, write with the fencing token
// ([Lease.Token]) to a store that refuses older ones.
//
// Nor the order of those who wait, where the server loses their places: in a failover that loses acknowledged writes,
// or a restart without its data. A poll brings along for how long its callers have waited, so their places count again
// from the first poll of their process on that reaches the new server; it polls at every RetryInterval, in an outage
// too. Until then the server knows nothing of them: a permit that is free goes to those who have polled. A replica that
// takes over lacks the latest writes, and so the places of those who came last; one that has just been attached may lack
// everything. Who stands in the queue of the new server keeps that place.
//
// # Steps of the server's clock
//
// Redis decides by its clock when a permit expires. A step ahead makes all permits expire earlier by as much.
// The first answer after it shows it, to within the time that the answer took; every window on that server then
// loses the step, once, and all are renewed at once. So a step that leaves time for one renewal costs no lease,
// and a step that is shorter than the Margin breaks nothing, even before it is found. Between a longer step and
// the next answer, Redis may give away a permit that is still trusted. The same holds where another node of a
// Cluster, or a replica, takes over with another clock. After a step back, permits live for longer by as much, until
// their holder renews them by the new clock. What belongs to a process that crashed before it learned of the step is
// drawn in by the first who finds no room, or finds its waiter at the head of the queue: from then on it lasts for at
// most the longest TTL that any process has declared since the semaphore was last empty. [Semaphore.Inspect] shows
// what is there. Expiries that PassBuddy for Node has written are left as they are. A step of this process's wall
// clock ahead can cost leases; one back costs nothing.
//
// # Pausing and suspending
//
// A process that was paused finds its leases ended: the lease's own contexts, and those of [Permit.Use],
// look at the clock in Err and Done, before any timer has run, and take along those that derive from
// them. A derived context by itself, an errgroup's too, is only as quick as the timer; before a step that
// cannot be undone:
//
//	if l := lease.FromContext(ctx); l == nil || !l.Valid() { … }
//
// The monotonic clock stands still while a machine is suspended, so time has passed when either the
// monotonic or the wall clock says so. A forward step of the wall clock can cost a lease.
//
// # Waiting
//
// Who waits stands in a queue in Redis, in order of arrival across the fleet. A release, and whatever else
// frees a permit, gives it to the head of the queue, and pushes it to that process in the same trip
// (PUBLISH): its window is measured by the latest call that was answered. Pushes may be lost: each process
// with waiters polls at every RetryInterval and just after the first permit's expiry, in one call for all
// of them, which also says that they are alive. A process registers no more of its callers than could be
// served together, and one more. A permit may pass from caller to caller inside one process for
// Config.Handover after Redis gave it. A request of several permits ([Weight]) is served in its turn, when
// all of them are free.
//
// Bound the wait with [MaxWait], not with a timeout of the context: that would
// end the lease as well. Who holds a permit and waits for another of the same semaphore can wait for ever:
// when all permits are held like this, nobody goes on.
//
// # The client
//
// Any redis.UniversalClient but a Ring works. With ContextTimeoutEnabled, as [Open] sets it, a call that
// is given up also gives its connection back at once.
//
// A client whose pool is often empty, because a service's own commands wait for connections, delays
// renewals, and a lease is lost when they are delayed for a whole window. Give the manager a client of its
// own then, as Open does: it needs few connections, whatever the number of leases.
//
// # Versions mixed during a deploy
//
// While a deploy is under way, old and new processes share the semaphore, and PassBuddy for Node may be
// among them. Each brings the text of its scripts along, so that none replaces another's. Where their
// Configs differ, each goes by its own:
//
//   - Capacity: a process grants while fewer permits are held than its own Config says. Live contexts add
//     up to no more than the largest capacity that a process went by since the oldest of them was acquired.
//     A smaller capacity is in force when the last old process is gone and its leases have ended.
//   - TTL and Margin: a permit lives by its holder's; no other process shortens it.
//   - Prefix and Name must be the same: others are another semaphore.
//
// Within one process a name has one Config while it is used; a different one is an error.
package lease
