// Package leasehttp runs HTTP handlers under permits. It is middleware for net/http, in a package of its own so that
// programs without a web server do not link one.
//
//	limit := leasehttp.Limit(render, leasehttp.Options{})
//	http.Handle("/render", limit(handler))
//
// # What to use
//
//   - [Limit] gives each request a permit of one semaphore, and refuses requests over the limit.
//   - [LimitBy] does so with a semaphore for each request, one per tenant for example.
//   - [Share] lets all requests of the process share one [lease.Permit], as the handler of PassBuddy for Node does.
//
// # What a handler sees
//
// Its request carries the lease's context. That ends when the lease is lost, and when the client goes away;
// [lease.FromContext] returns the lease. The handler gets the server's own ResponseWriter, so it can flush, hijack, and
// serve websockets; its permit is held for as long as the handler runs. What goes on after the handler has returned,
// such as a hijacked connection, needs a lease of its own.
//
// The permit goes back when the handler has returned, panicked or aborted: all that it wrote is then with the server.
// The response does not wait for Redis.
//
// # What a client gets without a permit
//
// A request waits for its permit, for Options.MaxWait at most. Then the answer is Options.Status, 503 by default, with a Retry-After. When
// Redis is out of reach or the manager is closed, the answer is 503 without one, and trouble with Redis is logged with
// the manager's logger, by each middleware once in an hour. When the request's context ends while it waits (an outer
// timeout, a server that stops, a client that has gone away), the handler does not run, no permit is taken, and the
// answer is 503: to write none would be 200 OK. Options.OnError replaces these answers, and may run the handler all the
// same.
package leasehttp
