package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// Each thing that PassBuddy for Node has is an example here; its handler is in package leasehttp.

// A query stands for what the permit guards.
func query(ctx context.Context, sql string) (string, error) { return "rows of " + sql, ctx.Err() }

// newManager is lease.Open on a Redis for the examples.
func newManager(opts ...lease.Options) (m *lease.Manager, stop func()) {
	url, stopRedis := redisURL()
	m, err := lease.Open(url, append(opts, lease.Options{})[0])
	if err != nil {
		log.Fatal(err)
	}
	return m, func() {
		_ = m.Close()
		stopRedis()
	}
}

// mustSemaphore is Semaphore for the examples.
func mustSemaphore(m *lease.Manager, cfg lease.Config) *lease.Semaphore {
	s, err := m.Semaphore(cfg)
	if err != nil {
		log.Fatal(err)
	}
	return s
}

// new PassBuddy({ prefix, name, capacity, redisClient })
func ExampleSemaphore_Permit() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()

	m, err := lease.New(client, lease.Options{Prefix: "passbuddy-dev"})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	testlock, err := m.Semaphore(lease.Config{Name: "testlock", Capacity: 10, TTL: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	pass := testlock.Permit()

	ctx, done, err := pass.Use(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer done()
	rows, err := query(ctx, "users")
	fmt.Println(rows, err, server.Keys())
	// Output: rows of users <nil> [passbuddy-dev-testlock {passbuddy-dev-testlock}:fence]
}

// new PassBuddy({}), with all of its defaults.
func ExampleNodeConfig() {
	m, stop := newManager()
	defer stop()
	s, err := m.Semaphore(lease.NodeConfig())
	if err != nil {
		log.Fatal(err)
	}
	cfg := s.Config()
	fmt.Println(cfg.Name, cfg.Capacity, cfg.TTL, cfg.MaxAttempts, cfg.RetryInterval)
	// Output: semaphore 10 5s 5 500ms
}

// await pass.acquire()
func ExamplePermit_Acquire() {
	m, stop := newManager()
	defer stop()
	pass := mustSemaphore(m, lease.Config{Name: "db", Capacity: 10}).Permit()
	ctx := context.Background()

	if err := pass.Acquire(ctx); err != nil { // takes the permit
		log.Fatal(err)
	}
	defer pass.Release()
	if err := pass.Acquire(ctx); err != nil { // extends it, at once
		log.Fatal(err)
	}
	fmt.Println("held:", pass.IsHeld())
	// Output: held: true
}

// pass.use().then(() => pool.query(...))
func ExamplePermit_Use() {
	m, stop := newManager()
	defer stop()
	pass := mustSemaphore(m, lease.Config{Name: "db", Capacity: 10}).Permit()

	ctx, done, err := pass.Use(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer done()
	rows, err := query(ctx, "users") // ends when the permit is lost
	if err != nil {
		log.Fatal(err, context.Cause(ctx))
	}
	fmt.Println(rows)
	// Output: rows of users
}

// await pass.release()
func ExamplePermit_Release() {
	m, stop := newManager()
	defer stop()
	pass := mustSemaphore(m, lease.Config{Name: "db", Capacity: 10}).Permit()

	ctx, done, err := pass.Use(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	if err := pass.Release(); err != nil { // given back when the last user is done
		log.Fatal(err)
	}
	fmt.Println("a user is at work:", ctx.Err() == nil, pass.IsHeld())
	done()
	fmt.Println("the user is done:", pass.IsHeld())
	// Output:
	// a user is at work: true true
	// the user is done: false
}

// const query = pass.bind((...args) => pool.query(...args))
func ExampleBind() {
	m, stop := newManager()
	defer stop()
	pass := mustSemaphore(m, lease.Config{Name: "db", Capacity: 10}).Permit()

	guarded := lease.Bind(pass, query, lease.ReleaseOnComplete())
	rows, err := guarded(context.Background(), "users")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rows)
	fmt.Println("held afterwards:", pass.IsHeld())
	// Output:
	// rows of users
	// held afterwards: false
}

// pass.isHeld
func ExamplePermit_IsHeld() {
	m, stop := newManager()
	defer stop()
	pass := mustSemaphore(m, lease.Config{Name: "db", Capacity: 10}).Permit()

	before := pass.IsHeld()
	if err := pass.Acquire(context.Background()); err != nil {
		log.Fatal(err)
	}
	held := pass.IsHeld()
	if err := pass.Release(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(before, held, pass.IsHeld())
	// Output: false true false
}

// pass.client
func ExamplePermit_Client() {
	m, stop := newManager()
	defer stop()
	pass := mustSemaphore(m, lease.Config{Name: "db", Capacity: 10}).Permit()

	fmt.Println(pass.Client().Ping(context.Background()).Val())
	// Output: PONG
}

// catch (err) { if (err instanceof PassBuddyCapacityError) … }
func ExampleCapacityError() {
	m, stop := newManager()
	defer stop()
	db := mustSemaphore(m, lease.Config{Name: "db", Capacity: 1})
	l, err := db.Acquire(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release()

	err = db.Permit(lease.MaxWait(-1)).Acquire(context.Background())
	var full *lease.CapacityError
	if errors.Is(err, lease.ErrAtCapacity) && errors.As(err, &full) {
		fmt.Printf("%s: %d of %d permits are held\n", full.Name, full.Held, full.Capacity)
	}
	// Output: db: 1 of 1 permits are held
}

// catch (err) { if (err instanceof PassBuddyRedisError) … }
func ExampleRedisError() {
	m, stop := newManager()
	db := mustSemaphore(m, lease.Config{Name: "db", Capacity: 1})
	ctx := context.Background()
	if err := m.Client().Set(ctx, "passbuddy-db", "something else", 0).Err(); err != nil {
		log.Fatal(err)
	}
	defer stop()

	err := db.Permit().Acquire(ctx)
	var trouble *lease.RedisError
	var reply redis.Error
	if errors.As(err, &trouble) && errors.As(err, &reply) {
		fmt.Println("Redis refused:", trouble.Op, trouble.Name)
	}
	// Output: Redis refused: acquire db
}
