// Package redistest gives tests and benchmarks real Redis processes, and a
// network between client and server that fails on command.
//
//   - [Start] runs one redis-server, which can be paused, killed and restarted.
//   - [StartSentinel] runs a master, a replica and three sentinels.
//   - [StartCluster] runs three masters that share the slots.
//   - [NewProxy] stands between a client and a server and loses, delays, cuts
//     or refuses what passes through it.
//
// Everything listens on the loopback interface only, keeps its files in the
// test's temporary directory, and ends with the test that started it. A
// process is ended through the handle it was started with, never by name, so
// other Redis servers on the machine are left alone. On Linux the processes
// also die with the test binary, however that ends.
//
// A machine without redis-server on PATH skips the tests, visibly. With
// PASSBUDDY_REDIS=require in the environment they fail instead, so that a
// build that means to run them cannot pass without having done so. Under
// -short tests of a Sentinel set or a Cluster are skipped.
//
// PASSBUDDY_REDIS_SERVER names the program to run instead, by its absolute
// path, as go test runs each package's tests in the package's own directory:
// another version of Redis, or valkey-server. It is run with --sentinel where
// a sentinel is needed.
package redistest
